"""Makes the previous version of the function live again."""

from scripts.deploy.environment import ALIAS, Environment, argument_parser, find_environment, one_line_aws_errors
from scripts.deploy.lambda_function import LambdaFunction
from scripts.shared import console


def main() -> None:
    """Runs `make rollback`."""
    arguments = argument_parser(__doc__)
    arguments.add_argument("--version", default="", metavar="NUMBER", help="version in place of the previous one")
    given = arguments.parse_args()
    with one_line_aws_errors():
        _roll_back(find_environment(given), given.version, bool(given.yes))


def _roll_back(environment: Environment, version: str, yes: bool) -> None:
    function = LambdaFunction(environment.client("lambda"), environment.name)
    live = function.live()["Version"]
    if live == "$LATEST":
        raise RuntimeError(f"cannot roll back {environment.name}: it has no alias {ALIAS} yet: make deploy")
    environment.confirm(f"roll back to {f'version {version}' if version else 'the previous version'}", yes)
    if version:
        function.make_live(version)
    else:
        version = function.roll_back()
    if not version:
        hint = "VERSION=number selects one"
        raise RuntimeError(f"cannot roll back {environment.name}: no version was live before {live}; {hint}")
    console.say(f"{environment.name}: version {version} is live, in place of {live}")


if __name__ == "__main__":
    main()

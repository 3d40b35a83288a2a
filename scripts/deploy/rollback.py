"""Makes the previous version of the function live again."""

from scripts.deploy import environment
from scripts.deploy.environment import ALIAS, Environment
from scripts.deploy.lambda_function import LambdaFunction
from scripts.shared import console


def main() -> None:
    """Runs `make rollback`."""
    arguments = environment.arguments(__doc__)
    arguments.add_argument("--version", default="", metavar="NUMBER", help="version in place of the previous one")
    given = arguments.parse_args()
    with environment.one_line_errors():
        _roll_back(environment.find(given), given.version, bool(given.yes))


def _roll_back(to: Environment, version: str, yes: bool) -> None:
    function = LambdaFunction(to.client("lambda"), to.name)
    live = function.live()["Version"]
    if live == "$LATEST":
        raise RuntimeError(f"cannot roll back {to.name}: it has no alias {ALIAS} yet: make deploy")
    to.confirm(f"roll back to {f'version {version}' if version else 'the previous version'}", yes)
    if version:
        function.make_live(version)
    else:
        version = function.roll_back()
    if not version:
        raise RuntimeError(f"cannot roll back {to.name}: no version was live before {live}; VERSION=number selects one")
    console.say(f"{to.name}: version {version} is live, in place of {live}")


if __name__ == "__main__":
    main()

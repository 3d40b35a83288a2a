"""Goes back to the version of the function that served before."""

from scripts.deploy import target
from scripts.deploy.lambda_function import LambdaFunction
from scripts.deploy.target import ALIAS, Target
from scripts.shared import console


def main() -> None:
    """What `make rollback` does."""
    arguments = target.arguments(__doc__)
    arguments.add_argument("--version", default="", metavar="NUMBER", help="this one, not the one before")
    given = arguments.parse_args()
    with target.one_line_errors():
        _go_back(target.find(given), given.version, bool(given.yes))


def _go_back(to: Target, wanted: str, yes: bool) -> None:
    function = LambdaFunction(to.client("lambda"), to.name)
    serving = function.serving()["Version"]
    if serving == "$LATEST":
        raise RuntimeError(f"{to.name} has no alias {ALIAS} yet, so nothing to go back to: make deploy")
    to.confirm(f"go back to {f'version {wanted}' if wanted else 'the version before'}", yes)
    if wanted:
        function.serve(wanted)
    else:
        wanted = function.go_back()
    if not wanted:
        raise RuntimeError(f"nothing served before version {serving} of {to.name}; VERSION=number goes to any other")
    console.say(f"{to.name} serves version {wanted}, in place of {serving}")


if __name__ == "__main__":
    main()

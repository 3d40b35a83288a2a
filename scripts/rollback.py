"""Goes back to the version of the function that served before."""

import console
import target
from lambda_function import LambdaFunction
from target import ALIAS, Target


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
    version = wanted or function.before(serving)
    if not version:
        raise RuntimeError(f"version {serving} of {to.name} is the first; VERSION=number goes to any other")
    if not function.has(version):
        raise RuntimeError(f"{to.name} has no version {version}")
    to.confirm(f"go back to version {version}", yes)
    function.serve(version)
    console.say(f"{to.name} serves version {version} again, in place of {serving}")


if __name__ == "__main__":
    main()

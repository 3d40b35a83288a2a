"""Asks what serves to check itself: the live version of an environment, or the local stack."""

import argparse

from scripts.deploy import self_check
from scripts.deploy.environment import ALIAS, argument_parser, find_environment, one_line_aws_errors
from scripts.deploy.lambda_function import LambdaFunction
from scripts.local import stack
from scripts.shared import console


def main() -> None:
    """Runs `make doctor`."""
    arguments = argument_parser(__doc__)
    arguments.set_defaults(env="")
    given = arguments.parse_args()
    with one_line_aws_errors():
        name, failures = _check_live(given) if given.env or given.function_name else _check_local()
        if failures:
            things = ", ".join(check.thing for check in failures)
            raise RuntimeError(f"{name} fails its self-check: {things}")
        console.say(f"{name}: nothing fails")


def _check_live(given: argparse.Namespace) -> tuple[str, list[self_check.Check]]:
    given.env = given.env or "sandbox"
    environment = find_environment(given)
    function = LambdaFunction(environment.client("lambda"), environment.name)
    live = function.live()["Version"]
    if live == "$LATEST":
        console.say(f"{environment.name} has no alias {ALIAS} yet: checking its newest code")
    return f"{environment.name} (version {live})", self_check.run(function, live)


def _check_local() -> tuple[str, list[self_check.Check]]:
    described = stack.find()
    if not described:
        raise RuntimeError("expected a local stack or ENV: run `make local` in another terminal, or set ENV=sandbox")
    function = LambdaFunction(described.client("lambda"), described.function)
    return "the local stack", self_check.run(function, "$LATEST")


if __name__ == "__main__":
    main()

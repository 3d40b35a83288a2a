"""Checks that no import of the Rust sources and of the scripts runs upwards.

"No import runs upwards" means that the graph of imports has no cycle: the files can then stand on floors, with every
import pointing to a lower floor. The same must hold for folders. A file at the root of a package stands for itself.

Imports between packages are left out, because cargo accepts no cycle of packages. Test modules are left out too.
"""

import argparse
import ast
import os
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from scripts import ROOT

PACKAGES = [*sorted(ROOT.glob("crates/*/src")), ROOT / "src", ROOT / "scripts"]
USE = re.compile(
    r"^( *)(?:pub(?:\([a-z]+\))? )?use (crate|super|cameras_service_generate_clip)::([^;]+);", re.MULTILINE
)
TESTS = re.compile(r"^#\[cfg\(test\)\]\s+mod ", re.MULTILINE)
INLINE = re.compile(r"\bcrate::([\w:]+)")
Graph = dict[str, set[str]]


def main() -> None:
    """Prints every cycle, and fails if there is one."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("packages", type=Path, nargs="*", default=PACKAGES, help="root folders of packages")
    arguments.add_argument("-v", "--verbose", action="store_true", help="print the size of each package")
    given = arguments.parse_args()
    cycles = []
    for package in given.packages:
        files = _files(package)
        folders = _folders(files)
        name = os.path.relpath(package, ROOT)
        if given.verbose:
            sizes = (
                f"{len(files)} files, {sum(map(len, files.values()))} imports, {len(folders)} folders and root files"
            )
            print(f"{name}: {sizes}", flush=True)
        for kind, graph in (("files", files), ("folders", folders)):
            found = list(_take_cycles(graph))
            cycles += [f"{name}: {kind} import each other: {' -> '.join(cycle)}" for cycle in found]
            if given.verbose and not found:
                print(f"  {kind} on {_floors(graph)} floors")
    if cycles:
        sys.exit("\n".join(f"error: {cycle}" for cycle in cycles))


def _files(package: Path) -> Graph:
    """Returns the files that each file of a package imports."""
    graph = {}
    for file in [*package.rglob("*.rs"), *package.rglob("*.py")]:
        if not file.stem.endswith("tests"):
            imports = _rust_imports(package, file) if file.suffix == ".rs" else _python_imports(package, file)
            own = str(file.relative_to(package))
            graph[own] = {str(each.relative_to(package)) for each in imports} - {own}
    return graph


def _folders(files: Graph) -> Graph:
    def folder(file: str) -> str:
        return file.rpartition("/")[0] or file

    graph: Graph = {folder(file): set() for file in files}
    for file, imports in files.items():
        graph[folder(file)] |= {folder(each) for each in imports} - {folder(file)}
    return graph


def _rust_imports(package: Path, file: Path) -> Iterator[Path]:
    text = re.sub(r"//.*", "", TESTS.split(file.read_text())[0])
    parent = file.parent.parent if file.name == "mod.rs" else file.parent
    for indent, root, tree in USE.findall(text):
        if root != "super" or not indent:  # an indented `super` is the file itself
            yield from (_module(parent if root == "super" else package, path) for path in _paths(tree))
    yield from (_module(package, path) for path in INLINE.findall(USE.sub("", text)))


def _paths(tree: str) -> Iterator[str]:
    """Splits `a::{b, c::{D, E}}` into `a::b`, `a::c::D` and `a::c::E`."""
    prefixes, path = [""], ""
    for token in [*re.findall(r"[\w:*]+|[{},]", re.sub(r"\bas \w+", "", tree)), ","]:
        if token not in "{},":
            path = token
        elif token == "{":
            prefixes.append(prefixes[-1] + path)
            path = ""
        else:
            if path:
                yield prefixes[-1] + path
            path = ""
            if token == "}":
                prefixes.pop()


def _module(folder: Path, path: str) -> Path:
    """Returns the file that defines the longest prefix of a path."""
    names = [name for name in path.split("::") if name]
    for count in range(len(names), 0, -1):
        module = folder.joinpath(*names[:count])
        for file in (module.with_suffix(".rs"), module / "mod.rs"):
            if file.is_file():
                return file
    return folder / "mod.rs" if (folder / "mod.rs").is_file() else folder / "lib.rs"


def _python_imports(package: Path, file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package.name:
            module = package.joinpath(*node.module.split(".")[1:])
            for name in node.names:
                candidates = (module / f"{name.name}.py", module.with_suffix(".py"), module / "__init__.py")
                yield next(each for each in candidates if each.is_file())


def _take_cycles(graph: Graph) -> Iterator[list[str]]:
    """Yields a cycle and removes one of its imports, until no cycle is left."""
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = error.args[1][::-1]
            yield cycle
            graph[cycle[0]].discard(cycle[1])
        else:
            return


def _floors(graph: Graph) -> int:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    floors = 0
    while ready := sorter.get_ready():
        sorter.done(*ready)
        floors += 1
    return floors


if __name__ == "__main__":
    main()

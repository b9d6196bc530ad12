"""The budgets that keep a file readable in one sitting. A limit may be raised, with a line that says why."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flux_lora"
MODULES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = [
    *MODULES,
    *(file for folder in ("scripts", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")),
]
ROOMS = {
    "adapter",
    "commands",
    "config",
    "data",
    "distributed",
    "evaluate",
    "flow",
    "models",
    "render",
    "runs",
    "share",
    "train",
}

LONGEST_FILE = 400
LONGEST_FUNCTION = 50
DEEPEST_NESTING = 3
MOST_ARGUMENTS = 6

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "handler", "processor"}
EMPTY_PARAMETERS = {"args", "cfg", "opt", "info", "kwargs", "data"}
SHAPELESS = re.compile(r"(^|\| ?)(dict\b|Dict\b|Any\b|argparse\.Namespace|Namespace|DictConfig)")
WRITERS = {"open", "save_file", "mkdir", "write_text", "write_bytes", "save", "print", "log"}
NESTS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)

Function = ast.FunctionDef | ast.AsyncFunctionDef

by_name = pytest.mark.parametrize("module", MODULES, ids=lambda file: str(file.relative_to(ROOT)))


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[ast.arg]:
    listed = function.args
    return [each for each in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs) if each.arg not in ("self", "cls")]


def nesting(node: ast.AST) -> int:
    """How deep blocks stand in each other; an elif is no deeper than its if."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child) + (isinstance(child, NESTS) and not is_elif))
    return deepest


def public_functions(tree: ast.Module) -> Iterator[Function]:
    holders = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
    for holder in holders:
        yield from (node for node in holder.body if isinstance(node, Function) and not node.name.startswith("_"))


@pytest.mark.parametrize("module", EVERYTHING, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_fits_in_one_sitting(module: Path):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@by_name
def test_a_function_fits_on_a_screen(module: Path):
    long = {each.name: length for each in functions(tree_of(module)) if (length := lines_of(each)) > LONGEST_FUNCTION}
    assert not long


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@by_name
def test_blocks_do_not_stand_deep_in_each_other(module: Path):
    deep = {each.name: depth for each in functions(tree_of(module)) if (depth := nesting(each)) > DEEPEST_NESTING}
    assert not deep


@by_name
def test_a_function_asks_for_few_things(module: Path):
    greedy = {each.name for each in functions(tree_of(module)) if len(parameters(each)) > MOST_ARGUMENTS}
    assert not greedy


@by_name
def test_only_runs_and_commands_see_the_whole_recipe(module: Path):
    if not {"commands", "config", "runs"} & set(module.parts) and module.name != "__main__.py":
        assert "RunConfig" not in module.read_text(encoding="utf-8")


@by_name
def test_nobody_writes_into_a_config(module: Path):
    written = [
        ast.unparse(target)
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and re.match(r"(\w+\.)*config\.", ast.unparse(target))
    ]
    assert not written


@by_name
def test_attributes_are_named_in_the_open(module: Path):
    calls = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    by_text = [
        ast.unparse(node) for node in calls if ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr")
    ]
    assert not by_text


@by_name
def test_public_parameters_have_a_shape(module: Path):
    for function in public_functions(tree_of(module)):
        assert function.args.kwarg is None, f"{function.name} takes **{function.args.kwarg and function.args.kwarg.arg}"
        for each in parameters(function):
            kind = ast.unparse(each.annotation) if each.annotation else ""
            assert not SHAPELESS.search(kind), f"{function.name}({each.arg}: {kind})"


@by_name
def test_public_functions_are_typed_and_say_what_they_do(module: Path):
    for function in public_functions(tree_of(module)):
        untyped = [each.arg for each in parameters(function) if each.annotation is None]
        assert not untyped, f"{function.name}: {untyped}"
        assert function.returns is not None, f"{function.name} returns what?"
        if function in tree_of(module).body:
            assert ast.get_docstring(function), f"{function.name} has no docstring"


@by_name
def test_a_module_says_what_it_is_for(module: Path):
    assert ast.get_docstring(tree_of(module))


@by_name
def test_there_is_no_global_state(module: Path):
    assert not [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Global | ast.Nonlocal)]


@by_name
def test_names_say_something(module: Path):
    assert not {module.stem, *module.relative_to(PACKAGE).parent.parts} & EMPTY_NAMES
    for function in functions(tree_of(module)):
        assert not {each.arg for each in parameters(function)} & EMPTY_PARAMETERS, function.name


def test_the_training_loop_writes_nothing():
    steps = PACKAGE / "train" / "loop.py"
    called = {ast.unparse(node.func).split(".")[-1] for node in ast.walk(tree_of(steps)) if isinstance(node, ast.Call)}
    assert not called & WRITERS


def test_the_package_has_the_rooms_of_its_plan_and_no_other():
    found = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    assert found == ROOMS


def test_configs_are_frozen():
    schema = tree_of(PACKAGE / "config" / "schema.py")
    for node in schema.body:
        if isinstance(node, ast.ClassDef):
            assert "frozen=True" in ast.unparse(node.decorator_list[0]), node.name


def test_composing_a_recipe_waits_for_no_heavy_library():
    heavy = "{'torch', 'diffusers', 'transformers', 'peft', 'accelerate', 'numpy', 'PIL'}"
    look = f"import sys, flux_lora.config.compose; print(sorted({heavy} & set(sys.modules)))"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT, check=True)
    assert seen.stdout.strip() == "[]"


FLUX1_FACT = re.compile(
    r"\bt5|pooled|clip_l|flux-?1\b|FLUX\.1|FluxPipeline|FluxTransformer|transformer_blocks|tokenizer_2", re.IGNORECASE
)
HOMES_OF_FACTS = ("models/", "adapter/dialects/", "adapter/loaders/")
"""A family's own rooms, and the key tables."""
OTHERS_WORDS = {
    "config/knobs.py": ("t5xxl_max_token_length", "clip_l", "t5xxl"),  # sd-scripts' knobs
    "data/checks/tokens.py": ("cut-by-t5",),  # a rule's id, which is stable
    "share/nodes.py": ("T5TokenizerOptions",),  # ComfyUI's node
}


def code_of(module: Path) -> str:
    """The code without comments and docstrings: what the interpreter reads."""
    tree = tree_of(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_docstring(each)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@by_name
def test_only_the_families_and_the_key_tables_hold_facts_of_one_model(module: Path):
    place = module.relative_to(PACKAGE).as_posix()
    if not place.startswith(HOMES_OF_FACTS):
        code = code_of(module)
        for word in OTHERS_WORDS.get(place, ()):
            code = code.replace(word, "")
        assert sorted(found.group() for found in FLUX1_FACT.finditer(code)) == []

# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The house: what it exports, which chapter may import which, and what would break custom code on the Hub."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_relative_imports

import bert4rec_hf
from bert4rec_hf.hub.load import CHECKPOINT_FILES


PACKAGE = Path(bert4rec_hf.__file__).parent
# Top to bottom: a file imports from its own chapter and from those before it.
CHAPTERS = [
    "errors",
    "files",
    "metrics",
    "model",
    "data",
    "evaluation",
    "hub",
    "training",
    "serving",
    "cli",
    "__main__",
]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
TRAVELLING = sorted((PACKAGE / "model").glob("*_bert4rec*.py"))

LOAD = """
config = AutoConfig.from_pretrained(folder)
model = AutoModelForMaskedLM.from_pretrained(folder)
base = AutoModel.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
assert {type(part).__module__.split(".")[0] for part in (config, model, base, processor)} == {"bert4rec_hf"}
assert type(AutoModelForMaskedLM.from_config(config)) is type(model)
from transformers import pipeline
assert pipeline("item-recommendation", model=folder)({"history": ["i1"]})
"""
AUTO = "from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor\n"


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def name_of(path: Path) -> str:
    """The module of a file of the package, from the package on: `data.tables`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def own_imports(tree: ast.AST, module: str) -> list[str]:
    """The modules of the package that a file imports, in functions too; not those under TYPE_CHECKING."""
    found, nodes = [], [tree]
    while nodes:
        node = nodes.pop()
        nodes += [] if is_type_checking(node) else [*ast.iter_child_nodes(node)]
        if isinstance(node, ast.ImportFrom) and node.level:
            parent = ["bert4rec_hf", *module.split(".")][: -node.level]
            found.append(".".join([*parent, node.module or ""]))
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name.removeprefix("bert4rec_hf.") for name in found if name.split(".")[0] == "bert4rec_hf"]


def graph() -> dict[str, list[str]]:
    return {name_of(path): own_imports(ast.parse(path.read_text(encoding="utf-8")), name_of(path)) for path in FILES}


def misplaced_imports(imports: dict[str, list[str]]) -> list[str]:
    place = {chapter: number for number, chapter in enumerate(CHAPTERS)}
    wrong = []
    for module, others in imports.items():
        chapter = module.split(".")[0]
        for other in others:
            is_known = other.split(".")[0] in place and other != "bert4rec_hf"
            if not is_known or place[other.split(".")[0]] > place[chapter]:
                wrong.append(f"{module} imports {other}")
            elif chapter in ("model", "metrics") and other.split(".")[0] != chapter:
                wrong.append(f"{module}, which works without the package, imports {other}")
    return wrong


def circles(imports: dict[str, list[str]]) -> list[str]:
    left = {module: {*others} & {*imports} for module, others in imports.items()}
    while free := [module for module, others in left.items() if not others]:
        left = {module: others - {*free} for module, others in left.items() if module not in free}
    return sorted(left)


def test_every_chapter_has_its_place():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == set(CHAPTERS)


def test_imports_go_up_the_list_and_never_in_a_circle():
    imports = graph()
    assert misplaced_imports(imports) == []
    assert circles(imports) == []
    assert any(imports.values())


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("data.tables", "from ..evaluation.bootstrap import interval"),
        ("model.layers_bert4rec", "from ..errors import DataError"),
        ("metrics.ranking.ranking", "from ...errors import DataError"),
        ("hub.load", "def late():\n    from ..training.trainer import Bert4RecTrainer"),
        ("errors", "import bert4rec_hf.cli.arguments"),
        ("files", "import bert4rec_hf"),
    ],
)
def test_an_import_downwards_is_found(module, line):
    assert misplaced_imports({module: own_imports(ast.parse(line), module)})


def test_a_circle_is_found_and_type_checking_is_none():
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == ["a", "b", "c", "d"]
    assert not own_imports(ast.parse("if TYPE_CHECKING:\n    from .modeling_bert4rec import X"), "model.x")


def faults_of_custom_code(text: str) -> list[str]:
    """
    What breaks a file that `save_pretrained` copies to the Hub: a repository is flat, and knows neither this package
    nor its other dependencies. transformers looks for imports by patterns, in docstrings and in functions too, but not
    in `try` blocks, for what is optional.
    """
    allowed = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", *sys.stdlib_module_names}
    wrong = []
    blocks = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Try)]
    optional = {line for block in blocks for line in range(block.lineno, block.handlers[0].lineno)}
    for node in ast.walk(ast.parse(text)):
        if getattr(node, "lineno", 0) in optional and isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        if isinstance(node, ast.Import):
            wrong += [alias.name for alias in node.names if alias.name.split(".")[0] not in allowed]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            wrong += [node.module] if node.module.split(".")[0] not in allowed else []
        elif isinstance(node, ast.ImportFrom):
            is_sibling = node.level == 1 and node.module and "." not in node.module and "_bert4rec" in node.module
            wrong += [] if is_sibling else [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for line in node.value.splitlines():
                if line.strip().startswith(("from .", "import .")):
                    wrong.append(line)
        elif isinstance(node, ast.Name) and node.id == "__file__":
            wrong.append("__file__")
    return wrong


@pytest.mark.parametrize("path", TRAVELLING, ids=lambda path: path.stem)
def test_files_that_travel_to_the_hub_import_only_what_is_there(path):
    assert faults_of_custom_code(path.read_text(encoding="utf-8")) == []
    assert name_of(path).count(".") == 1


def test_every_file_of_the_model_and_no_other_travels():
    assert {name for name in CHECKPOINT_FILES if name.endswith(".py")} == {path.name for path in TRAVELLING}


@pytest.mark.parametrize("kind", ["configuration", "modeling", "modeling_ensemble", "processing", "pipeline"])
def test_every_entry_point_names_every_file(kind):
    """Of a folder, transformers before 5.19 copies what an entry point names itself, and not what those name."""
    path = PACKAGE / "model" / f"{kind.partition('_')[0]}_bert4rec{'_ensemble' * ('_' in kind)}.py"
    named = {path.stem, *get_relative_imports(path)}
    assert named == {path.stem for path in TRAVELLING}


@pytest.mark.parametrize(
    "line",
    [
        "from ..errors import DataError",
        "from . import layers_bert4rec",
        "from .parts.layers_bert4rec import X",
        "import pyarrow",
        "def late():\n    import pandas as pd",
        '"""\nfrom .missing import x\n"""',
        "open(__file__)",
    ],
)
def test_what_breaks_custom_code_is_found(line):
    assert faults_of_custom_code(line)


@pytest.mark.parametrize(
    "imports",
    [
        f"import bert4rec_hf\n{AUTO}",
        f"{AUTO}import bert4rec_hf\n",
        f"from transformers import pipeline\nimport bert4rec_hf\n{AUTO}",
        f"from bert4rec_hf import ItemRecommendationPipeline\n{AUTO}",
        f"import importlib, bert4rec_hf\nimportlib.reload(bert4rec_hf)\n{AUTO}",
    ],
)
def test_auto_classes_know_the_model_whatever_is_imported_first(model, processor, tmp_path, imports):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    run(f"{imports}folder = {str(tmp_path)!r}\n{LOAD}")


def test_importing_the_package_touches_neither_import_hooks_nor_the_modules_of_transformers():
    run("""
import importlib, sys
import transformers.pipelines
hooks = [*sys.meta_path]
import bert4rec_hf
for _ in range(3):
    importlib.reload(bert4rec_hf)
assert sys.meta_path == hooks
assert not [name for name in sys.modules if name.startswith("transformers.models.bert4rec")]
assert not {"datasets", "pyarrow"} & {*sys.modules}  # a service that only recommends pays for neither
""")


def test_every_public_name_is_there():
    assert all(getattr(bert4rec_hf, name) is not None for name in bert4rec_hf.__all__)
    assert set(bert4rec_hf.__all__) <= set(dir(bert4rec_hf))
    assert len(bert4rec_hf.__all__) == len(set(bert4rec_hf.__all__)) <= 40
    with pytest.raises(AttributeError, match="no attribute 'Bert5Rec'"):
        bert4rec_hf.Bert5Rec  # noqa: B018


def test_no_module_has_the_name_of_a_public_function():
    modules = {path.stem for path in FILES if path.parent.name != "cli"}  # where a file is a command
    modules |= {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    assert not modules & set(bert4rec_hf.__all__)
    assert callable(importlib.import_module("bert4rec_hf").evaluate)


def own_functions():
    """The functions and methods of the public names, by their names; not those that replace one of a library."""
    for name in bert4rec_hf.__all__:
        value = getattr(bert4rec_hf, name)
        if inspect.isfunction(value):
            yield name, value
            continue
        bases = [base for base in value.__mro__ if not base.__module__.startswith("bert4rec_hf")]
        for method, function in inspect.getmembers(value, callable):
            function = inspect.unwrap(getattr(function, "__func__", function))
            is_own = inspect.isfunction(function) and function.__module__.startswith("bert4rec_hf")
            if is_own and not method.startswith("_") and not any(hasattr(base, method) for base in bases):
                yield f"{name}.{method}", function


def test_public_functions_have_types():
    functions = dict(own_functions())
    assert {"evaluate", "Bert4RecProcessor.titles", "Bert4RecForMaskedLM.recommend"} <= functions.keys()
    for name, function in functions.items():
        signature = inspect.signature(function)
        named = [
            part for part in signature.parameters.values() if part.kind not in (part.VAR_KEYWORD, part.VAR_POSITIONAL)
        ]
        untyped = [part.name for part in named if part.annotation is part.empty and part.name not in ("self", "cls")]
        assert not untyped and signature.return_annotation is not signature.empty, (name, untyped)
    assert (PACKAGE / "py.typed").exists()


def test_what_is_imported_for_type_checkers_is_what_is_public():
    assert set(bert4rec_hf._module_of()) <= set(bert4rec_hf.__all__) and len(bert4rec_hf.__all__) == 40
    for name, module in bert4rec_hf._module_of().items():
        assert getattr(importlib.import_module(f"bert4rec_hf.{module}"), name) is getattr(bert4rec_hf, name)

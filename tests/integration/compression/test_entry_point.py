"""Before the command can run: a third party is missing, or the user stops it while it is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = """
import sys
sys.modules["pycocotools"] = None
from edgedet_compression.cli import main
main()
"""
# The interrupt comes while ONNX Runtime is looked for, in the middle of the imports.
INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(name, path=None, target=None):
        if name == "onnxruntime":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting)
from edgedet_compression.cli import main
main()
"""
WITHOUT_TORCH = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "pooch", "scipy.stats"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Missing)
sys.argv[1:] = {arguments}
from edgedet_compression.cli import main
main()
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)


def test_a_missing_library_is_answered_with_the_extra_to_install():
    done = python(BLOCKED)
    assert done.returncode == 1
    assert "needs pycocotools.coco: in a clone of EdgeDet, pip install '.[compression]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_during_the_imports_ends_the_command_quietly():
    done = python(INTERRUPTED)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [["build", "--help"], ["fetch", "--help"], ["run", "--help"]])
def test_help_and_builds_need_neither_torch_nor_statistics_nor_their_seconds(arguments: list[str]):
    done = python(WITHOUT_TORCH.format(arguments=arguments))
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.parametrize(("arguments", "shown"), [(["recipes"], "yolov3-bccd"), (["recipes", "my-detector"], "[data]")])
def test_recipes_are_shown_without_torch(arguments: list[str], shown: str):
    done = python(WITHOUT_TORCH.format(arguments=arguments))
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


@pytest.mark.parametrize("arguments", [["run", "nothing"], ["evaluate", "PACKAGE", "--recipe", "nothing"]])
def test_a_recipe_is_looked_at_before_torch_is(models: Path, arguments: list[str]):
    package = str(models / "resnet20-cifar10" / "1")
    arguments = [package if word == "PACKAGE" else word for word in arguments]
    done = python(WITHOUT_TORCH.format(arguments=arguments))
    assert done.returncode == 2
    assert "no recipe 'nothing'; there are: " in done.stderr


@pytest.mark.parametrize("arguments", [["run", "yolov3-bccd"], ["report", "yolov3-bccd"]])
def test_commands_that_need_torch_say_which_extra_has_it(arguments: list[str]):
    done = python(WITHOUT_TORCH.format(arguments=arguments))
    assert done.returncode == 1
    assert "this command needs torch: pip install '.[compression]' in a clone" in done.stderr
    assert "Traceback" not in done.stderr

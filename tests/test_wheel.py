"""The wheel carries everything: built, installed into an empty environment, used from another folder."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it. The libraries are lent by this one; this checkout is not on its path."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return folder


def files_below(folder: Path) -> set[str]:
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {file.relative_to(ROOT).as_posix() for file in files}


@pytest.mark.parametrize("name", ["recipes", "data_templates"])
def test_the_wheel_has_the_same_files_as_the_checkout(wheel: Path, name: str):
    packed = {entry.removeprefix("flux_lora/") for entry in ZipFile(wheel).namelist()}
    assert files_below(ROOT / name) == {entry for entry in packed if entry.startswith(f"{name}/")}


def test_the_wheel_has_the_page_templates_and_the_embedded_base(wheel: Path):
    packed = set(ZipFile(wheel).namelist())
    carried = {file for file in files_below(ROOT / "flux_lora") if not file.endswith(".py")}
    assert carried <= packed


def test_a_recipe_runs_from_another_folder(environment: Path, tmp_path: Path):
    command = [str(environment / "bin" / "flux-lora"), "train", "recipe=demo", "--cfg", "job"]
    seen = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert seen.returncode == 0, seen.stderr
    assert f"folder: {environment}" in seen.stdout.replace(str(environment.resolve()), str(environment))
    assert "flux_lora/data_templates/product" in seen.stdout
    assert str(ROOT) not in seen.stdout
    assert not list(tmp_path.iterdir())


def test_a_recipe_is_checked_for_real_from_another_folder(environment: Path, tmp_path: Path):
    command = [str(environment / "bin" / "flux-lora"), "check", "recipe=demo"]
    seen = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert seen.returncode == 0, seen.stderr
    assert "16 images of the zubo bottle" in seen.stdout
    written = [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()]
    assert written == ["runs/demo/dataset/report.html"]

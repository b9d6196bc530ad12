"""The command line as a person meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from flux_lora.__main__ import answer, refuse_one_place
from flux_lora.config.help import VERBS
from flux_lora.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def flux_lora(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flux_lora", *arguments]
    known = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=known, check=False)


def test_help_fits_a_screen_and_names_every_verb(capsys: pytest.CaptureFixture[str]):
    assert answer(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {verb} " in text for verb in VERBS)
    assert len(text.splitlines()) < 50
    assert max(map(len, text.splitlines())) <= 100


def test_help_of_a_verb_lists_every_knob_with_its_reason(capsys: pytest.CaptureFixture[str]):
    assert answer(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "adapter.rank=16" in text
    assert "Rank of each layer" in text


def test_help_loads_neither_torch_nor_hydra():
    look = (
        "import sys; from flux_lora.__main__ import answer; answer(['--help']); answer(['train', '--help']);"
        "print(sorted({'torch', 'hydra', 'diffusers', 'numpy', 'PIL', 'rich'} & set(sys.modules)))"
    )
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT, check=True)
    assert seen.stdout.splitlines()[-1] == "[]"


def test_a_slip_is_two_lines_and_exit_code_2(tmp_path: Path):
    seen = flux_lora("train", "recipe=demo", "adapter.rnk=3", folder=tmp_path)
    assert seen.returncode == 2
    assert seen.stderr.splitlines() == ["there is no knob 'adapter.rnk'", "fix: did you mean 'adapter.rank'?"]
    assert not seen.stdout
    assert not list(tmp_path.iterdir())


def test_a_mistyped_verb_finds_the_one_that_was_meant():
    with pytest.raises(ConfigError) as caught:
        answer(["trian", "recipe=demo"])
    assert caught.value.fix == "did you mean 'train'?"


def test_the_whole_configuration_of_a_real_run_is_printed_before_the_photos_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert answer(["train", "recipe=product", "model=flux_dev", "--cfg", "job"]) == 0
    text = capsys.readouterr().out
    for line in ("path: black-forest-labs/FLUX.1-dev", "folder: ???", "rank: 32", "alpha: 32.0", "dir: runs/product"):
        assert line in text
    assert "${" not in text
    assert not list(tmp_path.iterdir())


def test_the_users_own_folder_of_recipes_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\ndefaults: [demo]\ntrain: {steps: 111}\n")
    answer(["train", "recipe=mine", "--config-dir", str(tmp_path), "--cfg", "job"])
    assert "steps: 111" in capsys.readouterr().out


def test_a_sweep_runs_each_job_in_a_process_of_its_own_and_says_which_one_stopped(tmp_path: Path):
    seen = flux_lora("train", "recipe=demo", "-m", "adapter.rank=0,-1", folder=tmp_path)
    assert seen.returncode == 2
    assert "flux-lora train recipe=demo adapter.rank=0 run.dir='runs/demo-adapter.rank=0'" in seen.stdout
    assert "adapter.rank is 0" in seen.stderr
    assert "a job of the sweep ended with exit code 2" in seen.stderr


@pytest.mark.parametrize("place", ["export.dir=/mnt/loras", "export.file=/mnt/loras/mug.safetensors"])
def test_a_sweep_whose_jobs_would_export_to_one_place_is_refused_before_the_first(tmp_path: Path, place: str):
    seen = flux_lora("run", "recipe=demo", "-m", "adapter.rank=4,8", place, folder=tmp_path)
    assert seen.returncode == 2
    assert "every job of the sweep would export to /mnt/loras" in seen.stderr and "leave export." in seen.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("verb", "place"), [("run", "export.dir=out/${adapter.rank}"), ("run", "export.dir="), ("check", "export.dir=out")]
)
def test_a_place_of_each_job_or_of_none_is_no_reason(verb: str, place: str):
    refuse_one_place(verb, ["recipe=demo", "adapter.rank=4,8", place])


def test_a_sweep_checks_every_key_before_its_first_job(tmp_path: Path):
    seen = flux_lora("train", "-m", "recipe=demo", "adapter.rnk=4,8", folder=tmp_path)
    assert seen.returncode == 2
    assert "did you mean 'adapter.rank'?" in seen.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("flux-lora tr", "train"),
        ("flux-lora train rec", "recipe="),
        ("flux-lora train recipe=", "recipe=product"),
        ("flux-lora train recipe=demo adapter.ra", "adapter.rank="),
        ("flux-lora merge str", "strengths="),
    ],
)
def test_tab_completes_verbs_groups_and_knobs(typed: str, offered: str, tmp_path: Path):
    seen = flux_lora("-sc", "query=bash", folder=tmp_path, COMP_LINE=typed)
    assert offered in seen.stdout.split(), seen.stderr


def test_completion_can_be_installed(tmp_path: Path):
    seen = flux_lora("-sc", "install=bash", folder=tmp_path)
    assert "complete -o nospace" in seen.stdout


def test_inspect_asks_for_a_file():
    with pytest.raises(ConfigError, match="flux-lora inspect needs file"):
        answer(["inspect"])


def test_a_verb_on_files_lists_its_own_keys(capsys: pytest.CaptureFixture[str]):
    assert answer(["merge", "--help"]) == 0
    text = capsys.readouterr().out
    assert "strengths=[]" in text and "adapter.rank" not in text


def test_python_and_the_installed_command_are_the_same_program(tmp_path: Path):
    assert flux_lora("--version", folder=tmp_path).stdout.startswith("flux-lora ")

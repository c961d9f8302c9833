"""What stands where a verb would write is only replaced where prunekit wrote it."""

import hashlib
import os
from pathlib import Path

import pytest
from test_runs_run import filled

from prunekit.runs import answers, checksums, outputs
from prunekit.support.errors import ConfigError

PAGE = b"<!doctype html>\n<head>\n" + outputs.GENERATOR + b"</head>"
ANSWERS = b'{"index": 0, "answer": "good", "choice": 0, "score": -0.5}\n'


def test_a_new_name_and_an_empty_file_are_free(tmp_path):
    outputs.check(tmp_path / "new", overwrite=False)
    (tmp_path / "empty").touch()
    outputs.check(tmp_path / "empty", overwrite=False)


def test_a_users_file_is_refused_unless_told(tmp_path):
    path = tmp_path / "notes.html"
    path.write_text("<html>mine</html>")
    with pytest.raises(ConfigError, match="holds something else than is written now; name another file, or say --over"):
        outputs.check(path, overwrite=False, is_ours=outputs.is_page)
    outputs.check(path, overwrite=True, is_ours=outputs.is_page)
    path.write_bytes(PAGE)
    outputs.check(path, overwrite=False, is_ours=outputs.is_page)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("how", ["itself", "another path", "link", "hard link"])
def test_what_is_read_is_never_written_whatever_it_is_called(how, overwrite, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(ANSWERS)
    (tmp_path / "sub").mkdir()
    path = {"itself": rows, "another path": tmp_path / "sub" / ".." / "rows.jsonl"}.get(how, tmp_path / "other")
    if how == "link":
        path.symlink_to(rows)
    if how == "hard link":
        path.hardlink_to(rows)
    with pytest.raises(ConfigError, match="is the file that is read"):
        outputs.check(path, overwrite=overwrite, is_ours=answers.is_answers, reads=(tmp_path / "gone", rows))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name",
    ["results.parquet", "experiment.toml", "journal.json", ".lock", "seed=0/round=00/result.json", "seed=0/new.html",
     "prune-ab12/stage.toml", "untrained", "untrained/x.html"],
)  # fmt: skip
def test_the_files_of_a_run_are_never_written_over(name, overwrite, tmp_path):
    run = filled(tmp_path / "r")
    with pytest.raises(ConfigError, match="lies among the files of the run"):
        outputs.check(run.path / name, overwrite=overwrite, is_ours=lambda content: True)
    with pytest.raises(ConfigError, match="lies among the files of the run"):
        outputs.check_folder(run.path, {name: b""}, overwrite=overwrite, is_ours=lambda path: True)
    (tmp_path / "link").symlink_to(run.path / name)
    with pytest.raises(ConfigError, match="lies among the files of the run"):
        outputs.check(tmp_path / "link", overwrite=overwrite)


def test_beside_the_files_of_a_run_there_is_room(tmp_path):
    run = filled(tmp_path / "r")
    outputs.check(run.path / "report.html", overwrite=False)
    outputs.check_folder(run.path / "figures", {"a.svg": b""}, overwrite=False, is_ours=lambda path: False)


def test_a_folder_is_refused_and_a_device_is_written_to(tmp_path):
    with pytest.raises(ConfigError, match="a folder; name a file"):
        outputs.check(tmp_path, overwrite=True)
    outputs.check(Path(os.devnull), overwrite=False)
    os.mkfifo(tmp_path / "pipe")
    outputs.check(tmp_path / "pipe", overwrite=False, is_ours=outputs.is_page)


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (ANSWERS, True),
        (ANSWERS + b'{"index": 1, "answer": "bad", "choice": 1, "score": 0, "label": "no"}\n', True),
        (ANSWERS + b'{"sentence": "mine"}\n', False),
        (b'{"index": 0, "answer": "good", "choice": 0, "score": 1, "note": "mine"}\n', False),
        (b"[1]\n", False),
        (b"\xff\x00", False),
        (b"index,answer,choice,score,label\n0,good,0,1.0,yes\n", True),
        (b"index\tanswer\tchoice\tscore\n0\tgood\t0\t1.0\n", True),
        (b"index,text\n0,mine\n", False),
        (b"PAR1 damaged", False),
        (b"[" * 100_000, False),
    ],
)
def test_answers_are_known_again(content, ours):
    assert answers.is_answers(content) == ours


def exported(folder):
    folder.mkdir()
    files = {
        "adapter_config.json": b"{}",
        "adapter_model.safetensors": b"x",
        "README.md": outputs.signed(b"# A prompt\n"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digests = {f"{key}_sha256": hashlib.sha256(files[name]).hexdigest() for key, name in
               (("tensors", "adapter_model.safetensors"), ("config", "adapter_config.json"))}  # fmt: skip
    (folder / "prunekit.json").write_bytes(checksums.stamped(digests))
    return dict.fromkeys([*files, "prunekit.json"], b"new")


def check_export(folder, files, overwrite=False):
    outputs.check_folder(
        folder, files, overwrite=overwrite, is_ours=lambda path: outputs.is_exported(path, "prunekit.json")
    )


def test_an_earlier_export_is_replaced(tmp_path):
    check_export(tmp_path / "none", {"README.md": b"x"})
    check_export(tmp_path / "a", exported(tmp_path / "a"))


@pytest.mark.parametrize("name", ["README.md", "adapter_config.json", "adapter_model.safetensors", "prunekit.json"])
def test_what_was_changed_since_is_not(name, tmp_path):
    files = exported(tmp_path / "a")
    path = tmp_path / "a" / name
    path.write_bytes(path.read_bytes() + b"\nand a line of mine\n")
    with pytest.raises(ConfigError, match="is there already, and prunekit did not write it, or it was changed since"):
        check_export(tmp_path / "a", files)
    check_export(tmp_path / "a", files, overwrite=True)


def test_a_users_readme_in_the_folder_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("# mine")
    with pytest.raises(ConfigError, match=r"README\.md is there already"):
        check_export(tmp_path, {"README.md": b"x"})
    check_export(tmp_path, {"README.md": b"# mine"})  # the same bytes
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ConfigError, match=r"a\.json is a folder there"):
        check_export(tmp_path, {"a.json": b"x"}, overwrite=True)


def test_a_signature_is_of_the_text_above_it():
    text = outputs.signed(b"# A prompt\n")
    assert text.startswith(b"# A prompt\n<!-- written by prunekit; ")
    assert outputs.is_signed(text)
    for other in (b"", b"# A prompt\n", text + b"x", b"x" + text, text.replace(b"prompt", b"Prompt"), text[:-9]):
        assert not outputs.is_signed(other)

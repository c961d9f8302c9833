import json

import pytest

from prunekit.runs import checksums
from prunekit.support.errors import ArtifactError

FACTS = {"run": "ab", "made_on": "cd", "key": "seed=0/round=00", "cohort": ["seed=0/round=00"], "previous": None}


def test_stamped_facts_come_back(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(checksums.stamped({"b": 1.5, "a": "ä"}))
    assert {"b": 1.5, "a": "ä"}.items() < checksums.read_stamped(path).items()


@pytest.mark.parametrize("old", [b"1.5", b'"a"', b"\n", b" ", b"sha256", b"u00e4"])
def test_any_other_spelling_of_stamped_facts_is_refused(tmp_path, old):
    path, content = tmp_path / "a.json", checksums.stamped({"b": 1.5, "a": "ä"})
    assert old in content
    for new in (old.upper(), old + b" ", b""):
        if new != old:
            path.write_bytes(content.replace(old, new, 1))
            with pytest.raises(ArtifactError, match=r"a\.json"):
                checksums.read_stamped(path)


def test_what_is_no_stamped_file_is_refused(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"", b"{}", b"[]", b"null", b'{"sha256": 1}', b"[" * 100_000, b"\xff", b'{"a": NaN}'):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="damaged"):
            checksums.read_stamped(path)
    with pytest.raises(ArtifactError, match="missing"):
        checksums.read_stamped(tmp_path / "gone.json")


def test_sealed_tables_come_back_and_are_plain_toml_for_others(tmp_path):
    import tomllib

    path = tmp_path / "a.toml"
    path.write_bytes(checksums.sealed({"x": 1, "deep": {"y": "ä", "z": None}}))
    assert checksums.read_sealed(path) == tomllib.loads(path.read_text()) == {"x": 1, "deep": {"y": "ä"}}


def test_a_sealed_file_is_read_up_to_a_table_and_no_text_is_taken_for_its_head(tmp_path):
    path, table = tmp_path / "experiment.toml", {"x": "a\n[deep]\nb", "first": {"y": 1}, "deep": {"z": 2}, "last": {}}
    path.write_bytes(checksums.sealed(table))
    assert checksums.read_sealed(path, before="deep") == {"x": "a\n[deep]\nb", "first": {"y": 1}}
    assert checksums.read_sealed(path, before="none") == table
    path.write_bytes(path.read_bytes().replace(b"z = 2", b"z = 3"))
    with pytest.raises(ArtifactError, match="does not match its own sha256"):
        checksums.read_sealed(path, before="deep")


@pytest.mark.parametrize("old", [b"x = 1", b"\n", b"# ", b"of", b"a", b"y"])
def test_an_edited_table_is_refused(tmp_path, old):
    path, content = tmp_path / "a.toml", checksums.sealed({"x": 1, "deep": {"y": "a"}})
    for new in (b"", old + b" ", b"\r" + old):
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(ArtifactError, match=r"a\.toml.*damaged"):
            checksums.read_sealed(path)
    with pytest.raises(ArtifactError, match="missing"):
        checksums.read_sealed(tmp_path / "gone.toml")


def test_a_manifest_holds_size_and_sum_of_every_file(tmp_path):
    path = tmp_path / "MANIFEST.json"
    path.write_bytes(checksums.manifest(FACTS, {"b.txt": b"123", "a.txt": b""}))
    read = checksums.read_manifest(path)
    assert read["files"]["b.txt"]["size"] == 3
    assert list(read["files"]) == ["a.txt", "b.txt"]
    assert FACTS.items() < read.items()


@pytest.mark.parametrize(
    "change",
    [
        {"files": []}, {"files": {"a": 1}}, {"files": {"../a": {"size": 1, "sha256": ""}}}, {"cohort": "x"},
        {"files": {"a": {"size": "1", "sha256": ""}}}, {"key": None}, {"previous": 3}, {"more": 1},
    ],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused_though_its_sum_is_right(tmp_path, change):
    path = tmp_path / "MANIFEST.json"
    path.write_bytes(checksums.stamped(FACTS | {"files": {}} | change))
    with pytest.raises(ArtifactError, match="not a manifest"):
        checksums.read_manifest(path)


def test_times_belong_to_their_round(tmp_path):
    digests = {}
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        manifest = checksums.manifest(FACTS, {"a.txt": name.encode()})
        digests[name] = json.loads(manifest)["sha256"]
        (folder / "timing.json").write_bytes(checksums.timing({"seconds": 1.5}, manifest))
    assert checksums.read_timing(tmp_path / "one", digests["one"]) == {"seconds": 1.5}
    (tmp_path / "two" / "timing.json").replace(tmp_path / "one" / "timing.json")
    with pytest.raises(ArtifactError, match=r"timing\.json: belongs to another round; delete it"):
        checksums.read_timing(tmp_path / "one", digests["one"])
    assert checksums.read_timing(tmp_path / "two", digests["two"]) == {}
    (tmp_path / "one" / "timing.json").write_text(json.dumps({"seconds": 2}))
    with pytest.raises(ArtifactError, match=r"damaged, .*; delete it"):
        checksums.read_timing(tmp_path / "one", digests["one"])

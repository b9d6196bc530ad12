"""A folder of weights is named by its contents."""

import flux_lora.models.hub as fingerprints
from flux_lora.models.hub import fingerprint


def write(folder, **files: bytes):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_equal_folders_have_equal_fingerprints_wherever_they_are(tmp_path):
    first, second = (write(tmp_path / name, weights=b"12", config=b"3") for name in ("first", "second"))
    assert fingerprint(first) == fingerprint(second)


def test_a_changed_byte_a_changed_name_and_a_new_file_change_the_fingerprint(tmp_path):
    folders = [
        write(tmp_path / "first", weights=b"12"),
        write(tmp_path / "byte", weights=b"13"),
        write(tmp_path / "name", heights=b"12"),
        write(tmp_path / "more", weights=b"12", config=b""),
    ]
    assert len({fingerprint(folder) for folder in folders}) == len(folders)


def test_a_large_file_is_told_apart_by_its_middle_and_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "WHOLE_BYTES", 64)
    monkeypatch.setattr(fingerprints, "WINDOW_BYTES", 16)
    plain = bytes(1024)
    middle, end = bytearray(plain), bytearray(plain)
    middle[(1024 - 16) * 8 // 15], end[-1] = 1, 1
    folders = [
        write(tmp_path / name, weights=bytes(content))
        for name, content in {"plain": plain, "middle": middle, "end": end}.items()
    ]
    assert len({fingerprint(folder) for folder in folders}) == 3

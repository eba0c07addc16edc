"""The mirror's file: read back as it was written, and refused with the reason where it cannot be believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from monitor.chain.mirror_file import Identity, NotResumable, Saved, load, save
from monitor.core.types import BlockRef
from tests.mirror.test_ledger import drawn
from tests.mirror.world import columns_of, empty, same

WHO = Identity(1, "0xProvider", "digest")
BLOCK = BlockRef(1, 20_000_000, "0x" + "ab" * 32, "0x" + "cd" * 32, 1_700_000_000, 7)


def some(count: int = 50) -> Saved:
    dice = Random(count)
    columns = columns_of({dice.randbytes(20): drawn(dice) for _ in range(count)}, 2)
    return Saved(columns, BLOCK, {3: "it would not answer"}, 19_999_000)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_it_comes_back_as_it_was(tmp_path: Path, count: int) -> None:
    saved = some(count) if count else Saved(empty(2), BLOCK)
    save(tmp_path / "new" / "mirror", WHO, saved)
    found = load(tmp_path / "new" / "mirror", WHO)
    same(found.columns, saved.columns)
    assert replace(found, columns=saved.columns) == saved
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mirror"]


def test_a_file_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    path, dice = tmp_path / "mirror", Random(2)
    save(path, WHO, some())
    content = path.read_bytes()
    for end in (16, 40, 300, len(content) - 33, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(NotResumable, match="cut off or changed"):
            load(path, WHO)
    for at in [dice.randrange(16, len(content)) for _ in range(60)]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :])
        with pytest.raises(NotResumable, match="cut off or changed"):
            load(path, WHO)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mirror"
    with pytest.raises(NotResumable, match="no mirror yet"):
        load(path, WHO)
    save(path, WHO, some())
    for other, what in (
        (replace(WHO, chain_id=10), "chain id"),
        (replace(WHO, market="0xOther"), "market"),
        (replace(WHO, facts="other"), "facts"),
    ):
        with pytest.raises(NotResumable, match=f"another {what}"):
            load(path, other)
    path.write_bytes(b"levmon.mirror/9\n" + path.read_bytes()[16:])
    with pytest.raises(NotResumable, match="this version"):
        load(path, WHO)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mirror"
    save(path, WHO, some())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(path, WHO, some(60))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["mirror"]

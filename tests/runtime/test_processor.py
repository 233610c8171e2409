"""Kinds of processors, and what was measured on them."""

from __future__ import annotations

import re
from pathlib import Path

from panoptic_blend.runtime.processor import describe_fastest, processor_kind

TABLES = Path(__file__).resolve().parents[2] / "docs" / "speed.md"


def test_kinds_of_processors(tmp_path: Path) -> None:
    for flags, kind in (
        ("fpu avx avx2 avx512bw avx512_vnni", " AVX512-VNNI"),
        ("fpu avx2", " AVX2"),
        ("fpu", ""),
    ):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n", encoding="utf-8")
        assert processor_kind(tmp_path / "cpuinfo").endswith(kind)
        assert ("AVX" in processor_kind(tmp_path / "cpuinfo")) == bool(kind)
    assert processor_kind(tmp_path / "absent")


def test_what_is_fastest_is_what_the_tables_say() -> None:
    tables = TABLES.read_text(encoding="utf-8")
    ways = {"x86_64 AVX512-VNNI": ["bf16", "int8"], "x86_64 AMX": ["bf16", "int8"], "x86_64 AVX2": ["int8"]}
    for kind, timed in ways.items():
        sentence = describe_fastest(kind)
        assert sentence.startswith(f"fastest on {kind}, as measured: ")
        found = re.findall(r"(bf16|int8)[^;]*?, (\d\.\d+(?: to \d\.\d)?) times", sentence)
        assert sorted(way for way, _ in found) == timed
        for way, numbers in found:
            for number in numbers.split(" to "):
                assert re.search(rf"^\| (exported, )?{way}\b.* \| {number}\b", tables, re.MULTILINE), (way, number)
    assert "not measured; `panoptic-blend benchmark" in describe_fastest("aarch64")

"""Processor and memory as Linux tells them, of machines that these tests do not run on."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.doctor.machine import describe_machine, describe_memory, find_features

INTEL = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum\nflags\t\t: sse avx2 avx512f avx512_bf16 amx_bf16\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16\n"


def _system(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_features_are_whole_words() -> None:
    has = {name for name, there in find_features(INTEL).items() if there}
    assert has == {"AVX2", "AVX512", "AVX512-BF16", "AMX-BF16"}
    assert {name for name, there in find_features(ARM).items() if there} == {"NEON", "bf16 of ARM"}
    assert find_features("no such line") == {}


def test_a_machine_is_described(tmp_path: Path) -> None:
    meminfo = "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"
    lines = describe_machine(_system(tmp_path, proc__cpuinfo=INTEL, proc__meminfo=meminfo))
    assert lines[0].startswith("processor: Intel(R) Xeon(R) Platinum, ")
    assert "instructions: AVX2, AVX512, AVX512-BF16, AMX-BF16" in lines
    assert "memory: 8.0 GiB free of 16.0 GiB" in lines


def test_a_containers_limit_is_told(tmp_path: Path) -> None:
    meminfo = "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"
    limited = _system(tmp_path / "a", proc__meminfo=meminfo)
    (limited / "sys/fs/cgroup").mkdir(parents=True)
    (limited / "sys/fs/cgroup/memory.max").write_text("4294967296\n")
    assert describe_memory(limited).endswith("this container may take 4.0 GiB")
    (limited / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert describe_memory(limited) == "memory: 8.0 GiB free of 16.0 GiB"


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    assert describe_machine(tmp_path)[0].startswith("processor: ")
    assert describe_memory(tmp_path) == ""

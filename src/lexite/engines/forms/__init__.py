"""Forms of documents and queries, by the names that ``lexite export --to`` has."""

from __future__ import annotations

from collections.abc import Mapping

from lexite.engines.forms.anserini import AnseriniForm
from lexite.engines.forms.arrow_tables import ArrowForm
from lexite.engines.forms.base import Collection as Collection
from lexite.engines.forms.base import Form as Form
from lexite.engines.forms.bulk import ELASTICSEARCH, OPENSEARCH
from lexite.engines.forms.ciff import CiffForm
from lexite.engines.forms.postgres import PostgresForm
from lexite.engines.forms.qdrant import QdrantForm
from lexite.engines.forms.solr import SolrForm
from lexite.engines.forms.vespa import VespaForm
from lexite.errors import ConfigError

FORMS: Mapping[str, Form] = {
    "opensearch-bulk": OPENSEARCH,
    "elasticsearch-bulk": ELASTICSEARCH,
    "solr": SolrForm(),
    "anserini": AnseriniForm(),
    "qdrant": QdrantForm(),
    "vespa": VespaForm(),
    "ciff": CiffForm(),
    "parquet": ArrowForm("parquet", ".parquet"),
    "arrow": ArrowForm("arrow", ".arrow"),
    "postgres": PostgresForm(),
}


def form(name: str) -> Form:
    """The form of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMS:
        raise ConfigError(f"There is no format '{name}'. The formats are {', '.join(FORMS)}.")
    return FORMS[name]

"""A collection of six documents and three judged queries, for the frameworks that evaluate."""

from __future__ import annotations

DOCUMENTS = [
    ("d1", "Animals", "The cat and the dog drink milk. A bird eats bread. The cow gives milk and meat."),
    ("d2", "Weather", "Rain and snow fall on the lake. The wind moves the ship on the sea."),
    ("d3", "Reading JSON", "How to parse a json file: open the file, read the text, parse the string to an object."),
    ("d4", "Sorting", "The sort function of the list takes a key. To search a table, sort the rows and count."),
    ("d5", "Medicine", "The trial measures the effect of the drug dose on the risk of cancer in patients."),
    ("d6", "", "The moon and the sun and the stars. Time is read from a clock by date and number."),
]
QUERIES = [("q1", "how to parse json text"), ("q2", "milk of the cow"), ("q3", "effect of the drug on cancer")]
QRELS = [("q1", "d3", 1), ("q2", "d1", 2), ("q3", "d5", 1), ("q3", "d6", 0)]

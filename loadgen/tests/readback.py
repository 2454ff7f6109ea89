"""Reads loadgen's reports back: see readback.sh. Prints what it checked, or fails with what differs."""

import copy
import csv
import functools
import html.parser
import itertools
import json
import math
import pathlib
import sys
import xml.etree.ElementTree

import jsonschema
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

QUANTILES = {"50": 0.5, "90": 0.9, "99": 0.99, "99.9": 0.999, "99.99": 0.9999}
HIGHEST = 60_000_000_000


@functools.cache
def decoded(blob):
    """A histogram, and value and count of every bucket that holds anything. Cached: decoding is slow."""
    h = HdrHistogram.decode(blob)
    return h, buckets(h)


@functools.cache
def moments(blob):
    h, _ = decoded(blob)
    return h.get_mean_value(), h.get_stddev()


def buckets(h):
    return [(h.get_highest_equivalent_value(h.get_value_from_index(i)), n) for i, n in enumerate(h.counts) if n]


def at_rank(found, rank):
    seen = 0
    for value, count in found:
        seen += count
        if seen >= rank:
            return value
    raise AssertionError(f"rank {rank} of {seen}")


def equal(what, ours, theirs):
    assert ours == theirs, f"{what}: loadgen says {ours}, Python {theirs}"


def check_stat(where, stat):
    """The summary of a histogram is that of the histogram."""
    h, found = decoded(stat["hdr"])
    n = sum(count for _, count in found)
    equal(f"{where} count", stat["count"], n)
    equal(f"{where} total", stat["count"], h.get_total_count())
    if n == 0:
        return
    equal(f"{where} max", stat["max"], h.get_highest_equivalent_value(h.get_max_value()))
    if ".latency_ns." in where:  # the hundreds of intervals would take minutes
        mean, stdev = moments(stat["hdr"])
        assert math.isclose(stat["mean"], mean, rel_tol=1e-6), f"{where} mean"
        assert math.isclose(stat["stdev"], stdev, rel_tol=1e-6, abs_tol=1), f"{where} stdev"
    for key, q in QUANTILES.items():
        if round(n * (1 - q), 6) < 10:
            assert key not in stat["p"], f"{where}: p{key} of {n} samples"
            continue
        equal(f"{where} p{key}", stat["p"][key], at_rank(found, math.ceil(round(n * q, 6))))
        low, high = stat["ci95"].get(key, [stat["p"][key]] * 2)
        assert low <= stat["p"][key] <= high, f"{where}: p{key} is outside its own interval"


def stats(node, path=""):
    """Every histogram in a report, and where."""
    if isinstance(node, dict):
        if "hdr" in node:
            yield path, node
        for key, child in node.items():
            yield from stats(child, f"{path}.{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from stats(child, f"{path}[{i}]")


def check_hgrm(path, stat):
    """Each line states the value at its percentile and the samples up to there. (Python steps otherwise.)"""
    lines = path.read_text().splitlines()
    equal(f"{path} head", lines[0].split(), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"])
    h, found = decoded(stat["hdr"])
    up_to = dict(zip((value for value, _ in found), itertools.accumulate(count for _, count in found)))
    rows = [line.split() for line in lines[2:] if not line.startswith("#")]
    for value, quantile, total, inverse in rows:
        quantile = float(quantile)
        # Six digits of the percentile may round across a rank.
        ranks = [max(1, math.ceil((quantile + slack) * stat["count"] - 1e-6)) for slack in (-5e-7, 5e-7)]
        low, high = (at_rank(found, min(rank, stat["count"])) for rank in ranks)
        assert low / 1e6 - 0.0005 <= float(value) <= high / 1e6 + 0.0005, f"{path}: {value} at {quantile}"
        assert up_to[low] <= int(total) <= up_to[high], f"{path}: {total} samples at {quantile}"
        if quantile < 0.999:
            assert math.isclose(float(inverse), 1 / (1 - quantile), rel_tol=2e-3, abs_tol=0.01), f"{path}: {inverse}"
    equal(f"{path} last", rows[-1][1:], ["1.000000", str(stat["count"]), "inf"])
    assert lines[-3].startswith("#[Mean    = "), lines[-3]
    equal(f"{path} mean", lines[-3].split()[2].rstrip(","), f"{moments(stat['hdr'])[0] / 1e6:.3f}")
    equal(f"{path} buckets", int(lines[-1].split()[2].rstrip(",")), h.bucket_count)
    return len(rows)


def check_hlog(path, report):
    """The intervals of each tag, added up, are the report's histogram of that name."""
    lines = path.read_text().splitlines()
    assert "#[Histogram log format version 1.3]" in lines, f"{path}: no version line"
    assert '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"' in lines, f"{path}: no legend"
    sums, n = {}, 0
    reader = HistogramLogReader(str(path), HdrHistogram(1, HIGHEST, 3))
    while (h := reader.get_next_interval_histogram()) is not None:
        n += 1
        sums.setdefault(h.tag, HdrHistogram(1, HIGHEST, 3)).add(h)
    equal(f"{path} intervals", n, sum(line.startswith("Tag=") for line in lines))
    assert report["run"]["measured_from_unix_ns"] > 1_700_000_000e9, f"{path} begins before loadgen was written"
    equal(f"{path} start", round(reader.base_time_sec), round(report["run"]["measured_from_unix_ns"] / 1e9))
    for name, stat in report["latency_ns"].items():
        equal(f"{path} {name}", decoded(stat["hdr"])[1], buckets(sums[name]))
    return n


def check_csv(path, report):
    """As many rows as there are intervals or steps, every cell a number but those that are words."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = next((report[mode]["steps"] for mode in ("conns", "find") if mode in report), report["intervals"])
    equal(f"{path} rows", len(rows), len(steps))
    for row in rows:
        assert None not in row and None not in row.values(), f"{path}: a row as long as no head"
        for name, cell in row.items():
            if name not in ("phase", "verdict", "ok") and cell:
                float(cell)
    if "conns" not in report and "find" not in report:
        equal(f"{path} received", [int(row["received"]) for row in rows], [i["received"] for i in steps])
        got = [row for row in rows if int(row["received"]) >= 20 and row["phase"] == "run"]
        assert all(row["response_p50_ns"] for row in got), f"{path}: replies without a time"
    return len(rows)


def check_html(path, report):
    """The page is well-formed as far as Python's parser can tell, and the report in it is the report."""
    class Page(html.parser.HTMLParser):
        inside, text, open_tags = False, "", 0

        def handle_starttag(self, tag, attrs):
            self.inside = tag == "script" and ("type", "application/json") in attrs

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            self.text += data if self.inside else ""

    page = Page()
    page.feed(path.read_text())
    page.close()
    equal(f"{path} report", json.loads(page.text), report)


def check_ndjson(path):
    """Every line is an object of its own; times ascend."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines and all(isinstance(line, dict) for line in lines), f"{path}: not a line of JSON each"
    return len(lines)


def strict(schema):
    """The schema, but unknown fields are errors: what loadgen writes must be described."""
    schema = copy.deepcopy(schema)

    def visit(node):
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                node["additionalProperties"] = False
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(schema)
    return schema


def spoilt(report):
    """Reports that are wrong in one way each."""
    def with_(change):
        other = copy.deepcopy(report)
        change(other)
        return other

    yield "another schema", with_(lambda r: r.update(schema="loadgen.report/3"))
    yield "no verdict", with_(lambda r: r.pop("verdict"))
    yield "an unknown verdict", with_(lambda r: r["verdict"].update(status="fine"))
    yield "a negative count", with_(lambda r: r["messages"].update(lost=-1))
    yield "a fraction of a nanosecond", with_(lambda r: r["latency_ns"]["connect"].update(max=1.5))
    yield "no mean", with_(lambda r: r["latency_ns"]["connect"].pop("mean"))
    yield "an interval with one end", with_(lambda r: r["latency_ns"]["connect"]["ci95"].update({"50": [1]}))


def main(schema_path, folder):
    schema = json.loads(pathlib.Path(schema_path).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    lax, exact = (jsonschema.Draft202012Validator(s) for s in (schema, strict(schema)))
    counts = dict.fromkeys(("reports", "histograms", ".hgrm lines", ".hlog intervals", ".csv rows", "spoilt reports refused"), 0)
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        report = json.loads(path.read_text())
        counts["reports"] += 1
        for error in exact.iter_errors(report):
            raise AssertionError(f"{path}: {error.json_path}: {error.message}")
        for what, bad in spoilt(report):
            assert not lax.is_valid(bad), f"{path}: the schema accepts {what}"
            counts["spoilt reports refused"] += 1
        for where, stat in stats(report):
            check_stat(f"{path}{where}", stat)
            counts["histograms"] += 1
        hgrm, hlog = path.with_suffix(".hgrm"), path.with_suffix(".hlog")
        if hgrm.exists():
            counts[".hgrm lines"] += check_hgrm(hgrm, report["latency_ns"]["response"])
        # A report that was only merged has no other form; one that has them has all.
        if not hlog.exists():
            continue
        counts[".hlog intervals"] += check_hlog(hlog, report)
        counts[".csv rows"] += check_csv(path.with_suffix(".csv"), report)
        xml.etree.ElementTree.parse(path.with_suffix(".svg"))
        check_html(path.with_suffix(".html"), report)
        if (ndjson := path.with_suffix(".ndjson")).exists():
            check_ndjson(ndjson)
    assert all(counts.values()), f"something was not there to check: {counts}"
    print("read back: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


main(*sys.argv[1:])

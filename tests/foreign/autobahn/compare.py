"""What wstest is asked to run, and whether what it found is what expected.json says.

usage: compare.py spec URL DIR even|odd [SECTION]...   prints wstest's specification for every other group of cases,
                                                       nothing if that is none
       compare.py report DIR [SECTION]...              reads DIR/*/index.json, prints one line, and each difference on
                                                       stderr; exit 1 if there is one

expected.json: `cases` counts the cases of each group ("6.4": 4 stands for 6.4.1 to 6.4.4; the section is the number
before the first dot), `informational` names those that any correct server gets INFORMATIONAL for, all others are OK.
"""

import json
import pathlib
import sys

expected = json.loads(pathlib.Path(__file__).with_name("expected.json").read_text())


def groups(sections):
    """The groups of cases in `sections`, or all of them if none is named."""
    known = {group.split(".")[0] for group in expected["cases"]}
    if unknown := [section for section in sections if section not in known]:
        sys.exit(f"autobahn: expected.json has no section {', '.join(unknown)}")
    return [group for group in expected["cases"] if not sections or group.split(".")[0] in sections]


def spec(url, outdir, half, *sections):
    cases = [f"{group}.*" for group in groups(sections)[half == "odd" :: 2]]
    if not cases:
        return
    servers = [{"agent": "wsecho", "url": url}]
    print(json.dumps({"outdir": outdir, "servers": servers, "cases": cases, "exclude-cases": []}))


def report(directory, *sections):
    found = {}
    for index in pathlib.Path(directory).glob("*/index.json"):
        found |= json.loads(index.read_text()).get("wsecho", {})
    cases = [f"{group}.{n + 1}" for group in groups(sections) for n in range(expected["cases"][group])]
    wrong = [f"{case}: not expected, and run" for case in found if case not in cases]
    for case in cases:
        want = "INFORMATIONAL" if case in expected["informational"] else "OK"
        if case not in found:
            wrong.append(f"{case}: not run")
            continue
        got = (found[case]["behavior"], found[case]["behaviorClose"])
        # wstest does not judge the closing handshake of a case without a right and a wrong outcome.
        if got not in {(want, "OK"), (want, want)}:
            wrong.append(f"{case}: {got[0]}, close {got[1]}; expected {want}")
    for line in wrong:
        print(f"autobahn: {line}", file=sys.stderr)
    informational = sum(case in expected["informational"] for case in cases)
    print(f"autobahn: {len(cases)} cases ({informational} informational), {len(wrong)} not as expected")
    sys.exit(1 if wrong else 0)


{"spec": spec, "report": report}[sys.argv[1]](*sys.argv[2:])

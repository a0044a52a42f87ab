"""The package index of a Debian machine, as facts to learn.

    apt-get -o Dir::State::Lists=$D/lists -o Acquire::Languages=en update
    apt-cache -o Dir::State::Lists=$D/lists -o Acquire::Languages=en dumpavail |
        python3 packages.py > packages.json.xz

dumpavail has the synopses; the long descriptions are read from the Translation-en lists that are
given as arguments.
"""

import json
import lzma
import re
import sys


def stanzas(lines):
    """Yields each paragraph as {field: text with continuation lines}."""
    fields, name = {}, None
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields, name = {}, None
        elif line[0] in " \t":
            fields[name] += "\n" + line[1:]
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    if fields:
        yield fields


def first_paragraph(body, words=60):
    """The description's first paragraph on one line, cut at a sentence within `words` words."""
    paragraph = re.split(r"\n\.\n", body)[0]
    text = " ".join(paragraph.split())
    tokens = text.split(" ")
    if len(tokens) <= words:
        return text
    cut = " ".join(tokens[:words])
    end = max(cut.rfind(". "), cut.rfind("; "))
    return cut[: end + 1] if end > 40 else ""


def main():
    packages = {}
    for fields in stanzas(sys.stdin):
        name, synopsis = fields.get("Package"), fields.get("Description", "").split("\n")[0]
        if name and synopsis and name not in packages:
            section = fields.get("Section", "").split("/")[-1]
            packages[name] = {"name": name, "synopsis": synopsis, "section": section,
                              "description": ""}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            for fields in stanzas(file):
                package = packages.get(fields.get("Package"))
                if package and not package["description"]:
                    _, _, body = fields.get("Description-en", "").partition("\n")
                    package["description"] = first_paragraph(body)
    rows = [packages[name] for name in sorted(packages)]
    sys.stdout.buffer.write(lzma.compress(json.dumps(rows).encode()))
    print(f"{len(rows)} packages", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Where each key of a TOML document stands, so that an error can name its line. tomllib tells values, not places.

Expects text that tomllib has accepted; knows nothing of what the keys mean.
"""

from __future__ import annotations

import tomllib

Path = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Path of every table, key and array item -> its line, from 1. `[[markets]]` tables count from 0."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest thing around it; 1 when nothing of it is in the document."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.arrays: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self.skip(" \t\n")
        while self.at < len(self.text):
            line = self.line()
            if self.text.startswith("[[", self.at):
                self.at += 2
                path = self.inside(self.key())
                self.arrays[path] = self.arrays.get(path, -1) + 1
                table = (*path, self.arrays[path])
                self.at += 2
                self.lines.setdefault(path, line)
                self.lines[table] = line
            elif self.text[self.at] == "[":
                self.at += 1
                table = self.inside(self.key())
                self.at += 1
                self.lines[table] = line
            else:
                self.pair(table)
            self.skip(" \t\n")

    def inside(self, key: Path) -> Path:
        """A dotted header as a path: a part that names an array of tables means its last one."""
        path: Path = ()
        for part in key[:-1]:
            path = (*path, part)
            if path in self.arrays:
                path = (*path, self.arrays[path])
        return (*path, key[-1])

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def skip(self, blanks: str) -> None:
        """Past blanks and comments."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            if self.at < len(self.text) and self.text[self.at] in blanks:
                self.at += 1
            else:
                return

    def key(self) -> Path:
        """A dotted key, up to what follows it."""
        parts: list[str] = []
        while True:
            self.skip(" \t")
            start = self.at
            if self.text[self.at] in "\"'":
                self.string()
                parts.append(str(tomllib.loads(f"k = {self.text[start : self.at]}")["k"]))
            else:
                while self.text[self.at].isalnum() or self.text[self.at] in "_-":
                    self.at += 1
                parts.append(self.text[start : self.at])
            self.skip(" \t")
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def pair(self, table: Path) -> None:
        line = self.line()
        path = (*table, *self.key())
        self.lines[path] = line
        self.at += 1  # the equals sign
        self.value(path)

    def value(self, path: Path) -> None:
        self.skip(" \t")
        self.lines.setdefault(path, self.line())
        char = self.text[self.at]
        if char in "\"'":
            self.string()
        elif char == "[":
            self.items(path)
        elif char == "{":
            self.inline_table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}\n#":
                self.at += 1

    def items(self, path: Path) -> None:
        self.at += 1
        index = 0
        self.skip(" \t\n")
        while self.text[self.at] != "]":
            self.value((*path, index))
            index += 1
            self.skip(" \t\n")
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(" \t\n")
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip(" \t")
        while self.text[self.at] != "}":
            self.pair(path)
            self.skip(" \t")
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(" \t")
        self.at += 1

    def string(self) -> None:
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(fence)
        while not self.text.startswith(fence, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(fence)
        while len(fence) == 3 and self.at < len(self.text) and self.text[self.at] == quote:
            self.at += 1  # up to two quotes may stand right before the closing fence

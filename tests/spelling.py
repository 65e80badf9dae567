"""`make spell`: every Korean word that a reader sees, in Debian's Korean dictionary (hunspell-ko) or in our own list.

`tests/words.txt` has what the dictionary lacks, a word a line: nouns and verbs (…하다, …되다) are known with every particle and
ending that fits them, so 로짓가 is told as well as a misspelt word; what begins with = is known only as it stands. `.ci/run spell` installs hunspell and its dictionary.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import korean_rules

from residual_lab.paths import CHECKOUT

WORDS = Path(__file__).with_name("words.txt")
WORD = re.compile(r"(?<![\w…)\]”’」}%])[가-힣]+")
"""A run of Hangul that begins a word: what follows code, a formula, a number or a bracket is a particle of that."""
_SUFFIX = "쯤에서|쯤의|쯤이|쯤|씩|뿐이|뿐|별로|별|끼리|들|짜리|째|까지|마다|부터|만|보다|집니다|집니까|진다|진|질수록|질|지고|지니|지지만|져|졌"
_RARE = "에서나|에서야|에서의|에서는요|인지의|만큼은|만큼이나|만큼입니다|만큼|만으로도|만으로는|만으로|이라고도|일까|일까요|일지로|이기|이어야|이면"
_PARTICLE = f"[은는이가을를의과와도에로만요나인일]|으로|으로는|로는|에는|에서|입니다|입니까|이고|이므로|이지|이지만|이나|이라|이다|{_RARE}"
ENDINGS = [
    re.compile(rf"^(.+?)(?:{_SUFFIX})(?:{_SUFFIX})?(?:{_PARTICLE})?$"),  # after a noun, or a passive that is written in one word
    re.compile(r"^(.+?(?:느냐|가|지|서|[다라]고))(?:에|가|이|를|을|의|도|만|일|라는|라면|인지|입니다|이지|일까요)$"),  # after a clause
    re.compile(rf"^(.+?)(?:{_RARE})$"),
]


def words(root: Path) -> dict[str, str]:
    """Every word with the place where it first stands."""
    found: dict[str, str] = {}
    for piece in korean_rules.pieces(root):
        for match in WORD.finditer(piece.text):
            found.setdefault(match[0], f"{piece.path}:{piece.line}")
    return found


def known_as(word: str) -> str:
    """A line of hunspell's personal dictionary: the word, and one that takes the same endings."""
    if word.startswith("="):
        return word[1:]
    for ending, example in {"하다": "공부하다", "되다": "시작되다"}.items():
        if word.endswith(ending):
            return f"{word}/{example}"
    final = (ord(word[-1]) - ord("가")) % 28
    example = {0: "사과", 8: "물"}.get(final, "책")
    return f"{word}/{example}"


def own_words() -> list[str]:
    return [line for line in WORDS.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")]


def unknown(asked: Iterable[str]) -> set[str]:
    """Those that neither the dictionary nor our list has."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as own:
        own.write("\n".join(map(known_as, own_words())) + "\n")
        own.flush()
        command = ["hunspell", "-d", "ko", "-i", "utf-8", "-p", own.name, "-l"]
        return set(subprocess.run(command, input="\n".join(asked) + "\n", capture_output=True, encoding="utf-8", check=True).stdout.split())


def without_tail(word: str) -> Iterator[str]:
    """What is before a suffix that the dictionary does not know on a word."""
    yield from (match[1] for ending in ENDINGS if (match := ending.match(word)))


def misspelt(found: Iterable[str]) -> set[str]:
    doubtful = unknown(found)
    stems = {word: list(without_tail(word)) for word in doubtful}
    wrong = unknown({stem for each in stems.values() for stem in each})
    return {word for word in doubtful if not set(stems[word]) - wrong}


def main() -> int:
    if not shutil.which("hunspell"):
        print("hunspell이 없습니다. Debian이나 Ubuntu에서는 'sudo apt install hunspell hunspell-ko'로 설치합니다.", file=sys.stderr)
        return 1
    found = words(CHECKOUT)
    wrong = misspelt(found)
    for word in sorted(wrong, key=found.get):
        print(f"{found[word]}: {word}")
    print(f"낱말 {len(found)}개 가운데 {len(wrong)}개를 사전에서 찾지 못했습니다. 맞는 말이면 tests/words.txt에 더하십시오.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""People named in prose, after words that only people follow, and in the trailers of commit messages. Pure.

Only names of two or three words count: a single capitalised word is as often a product, a place or a beginning.
"""

import re
from collections.abc import Iterator

from neural_pipeline.workflows.llm_entity_extraction.mentions import Mention
from neural_pipeline.workflows.llm_entity_extraction.services import service_key

_DONE_TO = "thanks|kudos|credits?|props|shout-?out|assigned|escalated|spoke|talked|handed over"
_DONE_BY = (
    "approved|authored|co-authored|contributed|debugged|designed|diagnosed|discovered|fixed|found|implemented|"
    "investigated|led|maintained|proposed|raised|reported|requested|reviewed|spotted|suggested|tested|written"
)
_DONE_WITH = "agreed|checked|confirmed|discussed|paired|pairing|reviewed|spoke|spoken|talked|worked|working"
_CUE = re.compile(
    rf"\b(?:(?:{_DONE_TO}) to|(?:{_DONE_BY}) by|(?:{_DONE_WITH}) with|thank you,?|on behalf of|cc:?"
    r"|(?:assignee|author|owner|reporter|reviewer)s?:)\s{1,3}\Z",
    re.IGNORECASE,
)
_LONGEST_CUE = len("investigated by") + 3
_CUE_END = "[cfhouyCFHOUY,:]"
_MAYBE_BEHIND_A_CUE = re.compile(rf"[^\x00-@\[-\x7f](?:(?<={_CUE_END}\s.)|(?<={_CUE_END}\s\s.)|(?<={_CUE_END}\s\s\s.))")
"""A capital (or what is not ASCII) behind the last letter of any cue: the few places where it is worth looking back."""
_AND = re.compile(r",? and |, | & ")
_MOST_PEOPLE = 10
_NAME_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['\u2019-](?=[^\W\d_])){1,30}")
_LOWER_CASE = "al bin da de del den der di la le van von zu"
_PARTICLES = frozenset(_LOWER_CASE.split())
_MOST_WORDS = 5
_CAPITALISED = """
a actions an and apache api apple april august azure best bot chapter claude cloud code community company copilot
corp customer data december dependabot design devops docs documentation engineering february figure finance first
for foundation friday github gmbh google group guide hat hub ibm if inc infra infrastructure issue january july june
last legal ltd manual march marketing may meta microsoft monday my new news next november october on open ops oracle
our overflow part platform policy product project pull quality release reliability renovate request review rfc
saturday sales sdk section security september server service services site software source stack standard studio
style success sunday support system systems table team teams the their these this those thursday tuesday version
visual we wednesday when you your
"""
"""Capitalised words that make a name that of a company, a product, a team or a document."""
_NO_NAME = frozenset(_CAPITALISED.split())

_TRAILER = re.compile(
    r"^(?:co-authored|signed-off|reviewed|acked|tested|reported|suggested|helped)-by:[ \t]{0,3}"
    r"([^<>\r\n]{2,80})<([^<>\s]{3,200})>",
    re.IGNORECASE | re.MULTILINE,
)
_IN_EVERY_TRAILER = "-by:"
_HIDDEN_MAIL = re.compile(r"(?:\d{1,12}\+)?([A-Za-z0-9-]{1,39})@users\.noreply\.github\.com")

IN_A_TRAILER, AFTER_A_CUE = 0.95, 0.85


def people_in(text: str) -> Iterator[Mention]:
    """Find people in a text."""
    for match in _TRAILER.finditer(text) if _IN_EVERY_TRAILER in text.lower() else ():
        name = match[1].strip()
        if login := _HIDDEN_MAIL.fullmatch(match[2]):
            yield Mention("engineer", f"@{login[1].lower()}", name, IN_A_TRAILER, *match.span())
        elif _name_end(name, 0) == len(name):
            yield Mention("engineer", name, name, IN_A_TRAILER, *match.span())
    for match in _MAYBE_BEHIND_A_CUE.finditer(text):
        start = match.start()
        if _CUE.search(text, max(0, start - _LONGEST_CUE), start):
            yield from _listed(text, start)


def _listed(text: str, start: int) -> Iterator[Mention]:
    """Read names from a place on: one, or several with commas between them."""
    for _ in range(_MOST_PEOPLE):
        end = _name_end(text, start)
        if end is None:
            return
        yield Mention("engineer", text[start:end], text[start:end], AFTER_A_CUE, start, end)
        separator = _AND.match(text, end)
        if separator is None:
            return
        start = separator.end()


def _name_end(text: str, start: int) -> int | None:
    """Return where the name ends that begins at a place; None if it is not surely one."""
    words: list[str] = []
    end = start
    while len(words) <= _MOST_WORDS and (match := _NAME_WORD.match(text, start)):
        word = match[0]
        if not (word[0].isupper() or word in _PARTICLES):
            break
        words.append(word)
        end = match.end()
        if not text.startswith(" ", end):
            break
        start = end + 1
    return end if _is_name(words) and not text[end : end + 1].isdigit() else None


def _is_name(words: list[str]) -> bool:
    proper = [word for word in words if word not in _PARTICLES]
    return (
        2 <= len(proper) <= 3
        and words[0] == proper[0]
        and words[-1] == proper[-1]
        and not any(word.isupper() or word.lower() in _NO_NAME or service_key(word.lower()) for word in proper)
    )

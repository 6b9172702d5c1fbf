"""Tags of words as files write them, and the one scheme that they are brought to: BIO.

Read are IOB1, IOB2 (BIO), IO, BIOES, BILOU and BMEWO, types without prefixes beside an O, other
spellings of a tag (`tag_spellings`), spans of characters, and tags that are about no entities, such
as parts of speech.

An entity goes on while its type stays the same and no tag begins or ends one (conlleval's reading),
so that all these schemes are read by the same rule, also where they are not kept strictly.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from src.core.entity_tags import OUTSIDE, list_entity_tags
from src.core.user_errors import UserError
from src.data.rows.records import RawRecord
from src.data.rows.tag_spellings import (
    OTHER_SPELLINGS,
    TAG_PATTERN,
    find_irregular_tags,
    read_tags,
    respell_tag,
    split_tag,
)
from src.data.rows.token_labels import (
    EntitySpan,
    WordSpan,
    find_words,
    require_token_labels,
)

# more than these are probably something else
_MAX_TYPES = 500


class TagSurvey:
    """Gathers the tags of all rows, tells their scheme and their types.

    Args:
        names: the tags in the order of their numbers, or the types of entities; None where neither
            is declared.
    """

    def __init__(self, names: Sequence[str | float] | None) -> None:
        self._declared = None if names is None else tuple(map(str, names))
        # where each first stands, by split
        self._tags: dict[str, dict[str, str]] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._has_spans = False
        self._counts: Counter[str] = Counter()
        self._places: dict[str, str] = {}
        # of the first tag that is a number without a name
        self._unnamed: UserError | None = None
        # how many names tags that are numbers need
        self.needed_names = 0
        # by type; of words by tag
        self.entity_counts: Counter[str] = Counter()
        self.tag_counts: Counter[str] = Counter()
        # what the tags are in each other spelling that all of them have
        self._respelled: dict[str, TagSurvey] | None = None

    def add(self, split: str, record: RawRecord) -> None:
        """Take in a row.

        Raises:
            UserError: its label is of another kind. A number that nothing names is only remembered,
                until the highest is known (`check_names`).
        """
        self._tags.setdefault(split, {})
        types = self._types.setdefault(split, {})
        labels = require_token_labels(record)
        if labels.tags is None:
            self._has_spans = True
            self.entity_counts.update(span.type for span in labels.spans)
            for span in labels.spans:
                types.setdefault(span.type, record.where)
            problems = tag_spans(record.text, find_words(record.text), labels.spans)[1]
            for problem in (*labels.remarks, *problems):
                self._count(problem, record.where)
            return
        numbers = [int(tag) for tag in labels.tags if str(tag).isdecimal()]
        try:
            spelled = [spell_tag(tag, self._declared, record.where) for tag in labels.tags]
        except UserError as error:
            self._unnamed = self._unnamed or error
            self.needed_names = max(self.needed_names, *(number + 1 for number in numbers))
            return
        self._add_tags(split, spelled, record.where)
        if self._respelled is None:
            self._respelled = {name: TagSurvey(None) for name in OTHER_SPELLINGS}
        for name, survey in list(self._respelled.items()):
            respelled = [respell_tag(tag, OTHER_SPELLINGS[name]) for tag in spelled]
            if None in respelled:
                del self._respelled[name]
            else:
                survey._add_tags(split, [tag for tag in respelled if tag], record.where)

    def _add_tags(self, split: str, spelled: Sequence[str], where: str) -> None:
        for tag in spelled:
            self._tags.setdefault(split, {}).setdefault(tag, where)
        self._types.setdefault(split, {})
        self.tag_counts.update(spelled)
        self.entity_counts.update(name for name, begins in read_tags(spelled) if begins and name)
        for problem in find_irregular_tags(spelled):
            self._count(problem, where)

    def _find_respelled(self, tags: Collection[str]) -> tuple[str, "TagSurvey"] | None:
        """The other spelling that entities' tags have, if they have none of the usual one."""
        if OUTSIDE not in tags or self._has_spans or self._declared is not None:
            return None
        for name, survey in (self._respelled or {}).items():
            # an entity begins somewhere; a type may well be called "I"
            if any(tag[:2] in ("B-", "S-", "U-") for tag in survey.tag_counts):
                return name, survey
        return None

    def _count(self, problem: str, where: str) -> None:
        self._counts[problem] += 1
        self._places.setdefault(problem, where)

    def check_names(self) -> None:
        """Raise UserError if tags are numbers that nothing names."""
        if self._unnamed is not None:
            self._unnamed.hint = (
                f"it takes {self.needed_names} names, in the order of the numbers from 0 to "
                f"{self.needed_names - 1}: {{key}}=[NAME,NAME,...], or a file with one on each line"
            )
            raise self._unnamed

    def finish(self) -> "TagScheme":
        """The scheme of all rows.

        Raises:
            UserError: numbers that nothing names, tags of several kinds, a tag or type that train
                lacks, or none at all.
        """
        self.check_names()
        every = {tag: where for tags in self._tags.values() for tag, where in tags.items()}
        if respelled := self._find_respelled(every):
            spelling, survey = respelled
            scheme = survey.finish()
            return scheme._replace(name=f"{scheme.name}, {spelling}")
        plain = [tag for tag in every if tag != OUTSIDE and not TAG_PATTERN.fullmatch(tag)]
        prefixed = [tag for tag in every if TAG_PATTERN.fullmatch(tag)]
        if self._has_spans and every:
            tag = next(iter(every))
            raise UserError(
                f"{every[tag]}: tags of words in some rows, spans of characters in others"
            )
        if plain and prefixed:
            tag = plain[0]
            raise UserError(
                f"{every[tag]}: the tag '{tag}' has no prefix, but others have, such as "
                f"'{prefixed[0]}' (data.source.label, data.source.tag_column)"
            )
        # without an O every word has one, as parts of speech are
        if plain and OUTSIDE not in {*every, *(self._declared or ())}:
            found = self._choose_names(self._tags, "tag")
            if len(found) < 2:
                raise UserError(f"all words of train have the tag '{found[0]}' (data.source.label)")
            return TagScheme(found, (), "tags without prefixes and without O: no entities")
        types = {
            split: self._types[split] | {split_tag(tag)[1]: where for tag, where in tags.items()}
            for split, tags in self._tags.items()
        }
        for by_type in types.values():
            by_type.pop("", None)
        found = self._choose_names(types, "type")
        return TagScheme(list_entity_tags(found), found, self._name_scheme(prefixed, plain))

    def are_entities(self) -> bool:
        """Whether tags are about entities, as far as is known: parts of speech are not."""
        try:
            return bool(self.finish().types)
        except UserError:
            return True

    def _choose_names(self, found: dict[str, dict[str, str]], what: str) -> tuple[str, ...]:
        """The declared names, or those of train; every split may have only these."""
        origin = "found in train" if self._declared is None else "declared (data.label_names)"
        if self._declared is None:
            names = tuple(sorted(found.get("train", {})))
        else:
            spelled = [split_tag(name)[1] if what == "type" else name for name in self._declared]
            names = tuple(dict.fromkeys(filter(None, spelled)))
        if not names:
            raise UserError("no row of train has an entity (data.source.label)")
        if len(names) > _MAX_TYPES:
            raise UserError(
                f"{len(names)} {what}s of words in train, such as '{names[0]}'; is another column "
                "the label (data.source.label, data.source.tag_column)?"
            )
        for split, by_name in found.items():
            for name, where in by_name.items():
                if name not in names:
                    raise UserError(
                        f"{where}: the {what} '{name}' in {split} is none of the {len(names)} "
                        f"{origin}: {', '.join(names[:20])}",
                        hint=f"data.label_names=[{','.join((*names, name))}] names them all"
                        if len(names) < 20
                        else None,
                    )
        return names

    def _name_scheme(self, prefixed: Sequence[str], plain: Sequence[str]) -> str:
        prefixes = {tag[0] for tag in prefixed}
        if self._has_spans:
            return "spans of characters"
        if plain:
            return "types without prefixes (IO)"
        if prefixes & set("LU"):
            return "BILOU"
        if prefixes & set("MW"):
            return "BMEWO"
        if prefixes & set("ES"):
            return "BIOES"
        if "B" not in prefixes:
            return "IO"
        return "IOB1" if self._counts["inside"] and not self._counts["free"] else "IOB2 (BIO)"

    def describe(self, scheme: "TagScheme") -> Iterator[str]:
        """What should be known of the tags, in sentences."""
        yield f"tags of words: {scheme.name}" + ", brought to BIO" * (
            bool(scheme.types) and scheme.name != "IOB2 (BIO)"
        )
        words = {
            "overlap": "overlapping another that begins before it, left out: a word has one tag",
            "widened": "beginning or ending inside a word, widened to the whole word",
            "empty": "without a visible character, left out",
            "utf16": "counted in units of UTF-16, in which an emoji is two, read so",
            "several": "with several labels, read with the first: a word has one tag",
            "quoted": "with a text of its own that is not the one at its place, read as placed",
        }
        survey = self._choose_reading()
        joined = ("IO", "IOB1", "types without prefixes (IO)")
        if scheme.types and scheme.name.split(",")[0] not in joined:
            words["inside"] = "beginning with a tag that goes on with one (I), read as a beginning"
        for problem, said in words.items():
            if count := survey._counts[problem]:
                found = f"{count:,} {'entity' if count == 1 else 'entities'} {said}"
                yield f"{found} (the first: {survey._places[problem]})"

    def _choose_reading(self) -> "TagSurvey":
        """This one, or that of the other spelling which the tags have."""
        found = self._find_respelled({tag for tags in self._tags.values() for tag in tags})
        return found[1] if found else self

    def count_entities(self) -> Counter[str]:
        """How many entities there are of each type."""
        return self._choose_reading().entity_counts


class TagScheme(NamedTuple):
    """What the tags of rows are about.

    Args:
        names: of all tags that a model learns, in their order.
        types: of entities; empty where tags are about none.
        name: of the scheme in the files.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    name: str

    def read_record(
        self, record: RawRecord, declared: Sequence[str | float] | None
    ) -> tuple[tuple[WordSpan, ...], tuple[int, ...]]:
        """The words of a row, and the index of each one's tag among `names`.

        Args:
            declared: names of tags that may be written as numbers.
        """
        words, tagged = self._read_words(record, declared)
        if not self.types:
            return words, tuple(self.names.index(str(tag)) for tag, _ in tagged)
        return words, tuple(
            0 if name is None else 1 + 2 * self.types.index(name) + (not begins)
            for name, begins in tagged
        )

    def list_entities(
        self, record: RawRecord, declared: Sequence[str | float] | None
    ) -> Iterator[tuple[int, int, str]]:
        """The entities of a row: first character, the one behind the last, and type; every word
        with its tag where tags are about none.

        Raises:
            UserError: the row has a tag or a type that is none of these, or no labels of words.
        """
        words, tagged = self._read_words(record, declared)
        known, begin = self.types or self.names, 0
        for place, (name, begins) in enumerate(tagged):
            if name is None:
                continue
            if name not in known:
                what = "type" if self.types else "tag"
                raise UserError(f"{record.where}: the {what} {name!r} is none of the model's")
            begin = place if begins else begin
            if place + 1 == len(tagged) or tagged[place + 1] != (name, False):
                yield words[begin][0], words[place][1], name

    def _read_words(
        self, record: RawRecord, declared: Sequence[str | float] | None
    ) -> tuple[tuple[WordSpan, ...], list[tuple[str | None, bool]]]:
        """The words of a row with the type of each and whether an entity begins there, or where
        tags are about no entities with its tag.
        """
        labels = require_token_labels(record)
        if labels.tags is None:
            words = find_words(record.text)
            return words, tag_spans(record.text, words, labels.spans)[0]
        assert record.words is not None
        names = None if declared is None else tuple(map(str, declared))
        tags = [spell_tag(tag, names, record.where) for tag in labels.tags]
        return record.words, read_tags(tags, self.types) if self.types else [
            (tag, True) for tag in tags
        ]


def spell_tag(tag: str | int, names: Sequence[str] | None, where: str) -> str:
    """A tag by its name; raises UserError if it is a number that nothing names."""
    if isinstance(tag, str) and (names is None or tag in names or not tag.isdecimal()):
        return tag.strip()
    if names is not None and 0 <= int(tag) < len(names):
        return names[int(tag)]
    raise UserError(
        f"{where}: the tag is the number {tag}, which "
        + ("nothing names" if names is None else f"none of {len(names)} names has"),
        key="data.label_names",
    )


def tag_spans(
    text: str, words: Sequence[WordSpan], spans: Sequence[EntitySpan]
) -> tuple[list[tuple[str | None, bool]], list[str]]:
    """The type of each word, whether an entity begins there, and what was wrong with spans:
    `overlap`, `widened` or `empty`. Of spans that overlap the first one stays, of those that begin
    together the longest.
    """
    read: list[tuple[str | None, bool]] = [(None, False)] * len(words)
    problems = []
    begins, ends = [begin for begin, _ in words], [end for _, end in words]
    for span in sorted(spans, key=lambda one: (one.begin, -one.end)):
        covered = range(bisect_right(ends, span.begin), bisect_left(begins, span.end))
        if not covered:
            problems.append("empty")
            continue
        if any(read[number][0] is not None for number in covered):
            problems.append("overlap")
            continue
        if words[covered[0]][0] < span.begin or words[covered[-1]][1] > span.end:
            problems.append("widened")
        for number in covered:
            read[number] = (span.type, number == covered[0])
    return read, problems


def describe_tags(survey: TagSurvey, problem: str | None) -> Iterator[str]:
    """What the tags of some rows are, in sentences.

    Args:
        problem: why they could not all be read.
    """
    if problem is not None:
        yield f"tags of words: {problem}"
        return
    try:
        scheme = survey.finish()
    except UserError as error:
        yield f"tags of words: {error}"
        return
    counts = survey.count_entities() if scheme.types else survey.tag_counts
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(12))
    yield f"{'entities' if scheme.types else 'words'}: {shown}" + ", ..." * (len(counts) > 12)
    yield from survey.describe(scheme)

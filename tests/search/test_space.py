"""A space is what Hydra's grammar says, and its grid is what Hydra's own multirun would do."""

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.config.groups import list_options
from src.core.user_errors import UserErrors
from src.search.space import Dimension, parse_space


def _said(*typed: str, **listed: str) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        parse_space(typed, listed)
    return caught.value.messages


LISTED = [
    ["a=1,2,3", "b=x,y"],
    ["a=choice(1e-5,2e-5)", "fixed=3", "+c=true,false", "++d=null,'a, b'"],
    ["a=range(1,7,2)", "b=range(0,0.5,0.05)", "c=range(3,0,-1)", "d=float(range(1,3))"],
    ["a=sort(3,1,2)", "b=sort(range(3),reverse=true)", "c=tag(mine,choice(1,2))", "d=str(1,2)"],
    ["a=[1,2],[3]", "b={x:1},{x:2}", "c=int(1.5,2.5)"],
]


@pytest.mark.parametrize("typed", LISTED, ids=" ".join)
def test_the_grid_is_what_hydra_would_do(typed: list[str]) -> None:
    parsed = OverridesParser.create().parse_overrides(typed)
    (expected,) = BasicSweeper.split_arguments(parsed, None)
    space, fixed = parse_space(typed, {})
    assert space.grid_size == len(expected)
    for index, overrides in enumerate(expected):
        assert space.format_overrides(space.grid_point(index)) == [
            override for override in overrides if override not in fixed
        ]


def test_globs_name_the_choices_of_a_group() -> None:
    space, _ = parse_space(["model=glob(*)", "model/encoder=glob(m*,exclude=modern*)"], {})
    # nothing that begins with _
    assert space.dimensions[0].choices == tuple(list_options("model"))
    assert not any(name.startswith("_") for name in space.dimensions[0].choices)
    assert space.dimensions[1].choices == ("mini",)


def test_a_shuffled_list_has_one_order_for_good() -> None:
    orders = {parse_space(["a=shuffle(range(20))"], {})[0].dimensions[0].choices for _ in range(3)}
    (order,) = orders
    assert sorted(map(int, order)) == list(range(20)) and list(order) != [
        str(number) for number in range(20)
    ]
    dimension = parse_space(["a=shuffle(range(20))"], {})[0].dimensions[0]
    assert (dimension.low, dimension.high, dimension.step) == (0, 19, 1)


def test_numbers_between_two_bounds() -> None:
    typed = [
        "a=interval(0,1)",
        "b=tag(log, interval(1e-6,1e-3))",
        "c=int(interval(1,8))",
        "+d=tag(log,int(interval(1,8)))",
    ]
    space, fixed = parse_space(typed, {})
    assert space.dimensions == (
        Dimension("a", "float", "interval(0,1)", low=0.0, high=1.0),
        Dimension("b", "float", "tag(log, interval(1e-6,1e-3))", low=1e-6, high=1e-3, log=True),
        Dimension("c", "int", "int(interval(1,8))", low=1, high=8),
        Dimension("d", "int", "tag(log,int(interval(1,8)))", low=1, high=8, log=True, prefix="+"),
    )
    assert (space.grid_size, fixed) == (None, [])
    assert space.format_overrides({"a": 0.1 + 0.2, "b": 3.2e-5, "c": 3, "d": 4}) == [
        "a=0.30000000000000004",
        "b=3.2e-05",
        "c=3",
        "+d=4",
    ]


def test_a_range_is_a_list_and_a_number_with_a_step() -> None:
    (dimension,) = parse_space(["a=range(0.5,3)"], {})[0].dimensions
    assert (dimension.kind, dimension.low, dimension.high, dimension.step) == (
        "float",
        0.5,
        2.5,
        1.0,
    )
    assert dimension.values == (0.5, 1.5, 2.5)
    (dimension,) = parse_space(["a=range(9,0,-3)"], {})[0].dimensions
    assert (dimension.kind, dimension.low, dimension.high, dimension.step) == ("int", 3, 9, 3)
    assert dimension.values == (9, 6, 3)


def test_what_is_typed_comes_before_the_file() -> None:
    listed = {
        "model.optim.lr": "tag(log, interval(1e-6,1e-3))",
        "seed": "1,2",
        "model.optim.beta1": "0.8,0.9",
    }
    space, fixed = parse_space(
        [
            "seed=3",
            "model.optim.lr=1e-5,2e-5",
            "name=x",
            "search.max_trials=4",
            "hydra.verbose=true",
        ],
        listed,
    )
    assert space.to_plain_dict() == {"model.optim.lr": "1e-5,2e-5", "model.optim.beta1": "0.8,0.9"}
    assert fixed == ["seed=3", "name=x", "search.max_trials=4", "hydra.verbose=true"]
    assert space.grid_point(1) == {"model.optim.lr": "1e-05", "model.optim.beta1": "0.9"}


def test_what_no_search_can_vary() -> None:
    assert _said(
        "name=a,b",
        "++tracking.uri=a,b",
        "search/sampler=tpe,random",
        "hydra.verbose=true,false",
        "resume=1,2",
    ) == [
        "name=a,b: name is the same in all trials of a sweep, so it takes one value",
        "++tracking.uri=a,b: tracking.uri is the same in all trials of a sweep, so it takes one "
        "value",
        "search/sampler=tpe,random: search/sampler is the same in all trials of a sweep, so it "
        "takes one value",
        "hydra.verbose=true,false: hydra.verbose is the same in all trials of a sweep, so it "
        "takes one value",
        "resume=1,2: resume is the same in all trials of a sweep, so it takes one value",
    ]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert _said(
        "a=interval(1,0)",
        "b=tag(log,interval(0,1))",
        "c=",
        "d=tag(lin,interval(0,1))",
        "~e=1,2",
        "f=[",
    ) == [
        "~e=1,2: what is taken away has no values to choose from",
        "'f=[' cannot be read: a bracket or quote is left open; as a text it is typed 'f=\"[\"'",
        "a=interval(1,0): expected a first bound below the second, found 1.0 and 0.0",
        "b=tag(log,interval(0,1)): on a logarithmic scale all numbers are above 0, and this "
        "begins with 0.0",
        "d=tag(lin,interval(0,1)): the tag 'lin' means nothing here; log is the one that does",
    ]
    assert _said("a=1,2", "+a=3", "b=1", "b=2") == ["a is given twice: a=1,2 and +a=3"]
    assert _said(a="5", b="range(1,1)") == [
        "search.space: a=5 is one value: expected several (a,b,c), a range or an interval",
        "search.space: b=range(1,1): no value lies in it, so that there would be no run",
    ]


def test_a_list_in_a_file_is_not_a_text() -> None:
    with pytest.raises(
        UserErrors, match=r"search.space: seed: expected a text like .*, found \[1, 2\]"
    ):
        parse_space([], {"seed": [1, 2]})  # type: ignore[dict-item]


def test_no_point_beyond_the_grid() -> None:
    space, _ = parse_space(["a=1,2", "b=1,2,3"], {})
    assert space.grid_point(5) == {"a": "2", "b": "3"}
    for index in (-1, 6):
        with pytest.raises(IndexError, match="6 points"):
            space.grid_point(index)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=int(interval(0.5,3.5))", "expected whole numbers as the bounds of whole numbers"),
        ("seed=1,2,1", "1 is listed twice, and would be run twice"),
        ("seed=1,", "a value is missing in the list"),
    ],
)
def test_values_that_nobody_can_have_meant(text: str, message: str) -> None:
    with pytest.raises(UserErrors, match=message):
        parse_space([text], {})

"""JSON from clients, before anything is done with it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.errors import ApiError
from workers.gateway.forms.json_input import decode_object

_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
_VALUES = st.recursive(
    _LEAVES, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=3), more, max_size=3)
)
_OBJECTS = st.dictionaries(st.text(max_size=3), _VALUES, min_size=1, max_size=4)


@given(_OBJECTS, st.booleans())
def test_an_object_is_read_as_it_was_written(fields, escaped):
    """As bytes as well as text, with any character in names and values, colons and quotes among them."""
    text = json.dumps(fields, ensure_ascii=escaped)
    assert decode_object(text) == decode_object(text.encode("utf-8", "replace" if not escaped else "strict")) == fields


@given(_OBJECTS, _VALUES, st.data())
def test_a_field_that_is_there_twice_is_refused(fields, value, data):
    """Wherever the second one is, however it is written, in the object itself or deep in it."""
    name = data.draw(st.sampled_from(sorted(fields)))
    pairs = [(one, json.dumps(some)) for one, some in fields.items()]
    pairs.insert(data.draw(st.integers(0, len(pairs))), (name, json.dumps(value)))
    written = [json.dumps(one) if data.draw(st.booleans()) else _escaped(one) for one, _ in pairs]
    twice = "{{{}}}".format(",".join(f"{one}:{text}" for one, (_, text) in zip(written, pairs, strict=True)))
    for text in (twice, f'{{"orders":[{twice}]}}', f'{{"a":{{"b":{twice}}},"c":1}}'):
        with pytest.raises(ApiError, match="twice") as refused:
            decode_object(text)
        assert refused.value.status == 400


def _escaped(name):
    """Every character as JSON's escape of its UTF-16 code units."""
    units = name.encode("utf-16-be", "surrogatepass")
    return '"{}"'.format("".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object, not an array"),
        ("7", "must be a JSON object, not a number"),
        ('{"a":NaN}', "not valid JSON"),
        ('{"a":1}{"a":1}', "not valid JSON"),
        ('{"a":1,}', "not valid JSON"),
        ('{"a":' * 5_000, "not usable JSON"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "not usable JSON"),
        ('{"a":[' + "[" * 5_000, "not usable JSON"),
        ('{"a":' + "9" * 5_000 + "}", "JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        ('{"a":1}'.encode("utf-16"), "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(text, says):
    """With 400 and a sentence that says why."""
    with pytest.raises(ApiError, match=says) as refused:
        decode_object(text)
    assert refused.value.status == 400
    assert len(str(refused.value)) < 200

"""What annotations and records need of `typing`, without importing it: that takes 2 ms, a whole command of the OCI runtime 40.

A type checker sees typing's own. At run time `NamedTuple` makes the same classes in a tenth of the time: typing's compiles a
constructor for each of them, and the documents of a bundle are forty.
"""

from __future__ import annotations

from operator import itemgetter

# Type checkers take a variable of this name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
else:
    Any = NoReturn = Protocol = object

    class _RecordClass(type):
        """Makes a subclass of `NamedTuple` a tuple with the fields of its annotations."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            made = {
                "__slots__": (),
                "_fields": fields,
                "_field_defaults": {field: body.pop(field) for field in fields if field in body},
                "__match_args__": fields,
                "__new__": _new,
                "__repr__": _shown,
                "__getnewargs__": _values,
                "_asdict": _as_dict,
                "_replace": _replaced,
            }
            made.update((field, property(itemgetter(number))) for number, field in enumerate(fields))
            return type(name, (tuple,), made | body)

    class NamedTuple(metaclass=_RecordClass):
        """As typing.NamedTuple, without `_make`."""

    def _new(cls, *values, **named):
        given = len(values)
        for field in cls._fields[given:]:
            if field in named:
                values += (named.pop(field),)
            elif field in cls._field_defaults:
                values += (cls._field_defaults[field],)
            else:
                raise TypeError(f"{cls.__name__} lacks `{field}`")
        if named or given > len(cls._fields):
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
        return tuple.__new__(cls, values)

    def _replaced(self, **changed):
        values = tuple(changed.pop(field, value) for field, value in zip(self._fields, self, strict=True))
        if changed:
            raise ValueError(f"{type(self).__name__} has no {', '.join(changed)}")
        return tuple.__new__(type(self), values)

    def _values(self):
        return tuple(self)

    def _as_dict(self):
        return dict(zip(self._fields, self, strict=True))

    def _shown(self):
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in _as_dict(self).items())})"

"""The JSON API described in OpenAPI 3.1: the objects are those that the commands print with --json.

Integers of a chain are decimal strings, since a JSON number of 256 bits is rounded by most readers.
"""

from __future__ import annotations

from typing import Any

from monitor.core.types import Level

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
UINT: Schema = {"type": "string", "pattern": "^[0-9]+$"}
DECIMAL: Schema = {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}


def document(*, token: bool) -> dict[str, Any]:
    """The whole description; `token`: whether one is needed."""
    secured: dict[str, Any] = {"security": [{"token": []}]} if token else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "levmon", "version": "1", "description": "Positions as `levmon watch` sees them. Read-only."},
        "paths": {
            "/api/v1/summary": _get("How many positions of each level, and what they come to", "Summary"),
            "/api/v1/positions": _get(
                "Positions, the most urgent first",
                "Positions",
                [
                    _query("page", {"type": "integer", "minimum": 1, "maximum": 100_000}),
                    _query("level", {"enum": [level.value for level in Level]}),
                    _query("q", {"type": "string", "maxLength": 80}),
                ],
                wrong=True,
            ),
            "/api/v1/positions/{id}": _get("One position", "Position", [ID], missing=True),
            "/api/v1/positions/{id}/explanation": _get(
                "Where each of its numbers comes from", "Explanation", [ID], missing=True
            ),
            "/api/v1/positions/{id}/whatif": _get(
                "Health after price moves and time, by the contract's own rule",
                "WhatIf",
                [
                    ID,
                    {
                        **_query(
                            "shock", {"type": "array", "maxItems": 32, "items": {"type": "string", "maxLength": 60}}
                        ),
                        "description": "ASSET=PERCENT, such as WETH=-20%",
                    },
                    _query("days", {"type": "string", "maxLength": 24}),
                ],
                missing=True,
                wrong=True,
            ),
            "/api/v1/positions/{id}/plan": _get(
                "What would be done now, and why not otherwise", "Plan", [ID], missing=True, wrong=True
            ),
            "/api/v1/markets": _get(
                "What the watched positions of each market come to, and what falls with prices", "Markets"
            ),
            "/api/v1/actions": _get("Actions with their transactions, from the journal; and holds", "Actions"),
            "/api/v1/alerts": _get("How channels fare, and the newest alerts", "Alerts"),
            "/api/v1/system": _get("Endpoints by host, heads, and what doctor found", "System"),
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        **secured,
    }


ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 300},
}


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _get(
    summary: str, schema: str, parameters: list[Schema] | None = None, *, missing: bool = False, wrong: bool = False
) -> Schema:
    def answer(name: str, description: str) -> Schema:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        return {"description": description, "content": content}

    responses = {"200": answer(schema, "As it is now")}
    if wrong:
        responses["400"] = answer("Error", "The question makes no sense")
    if missing:
        responses["404"] = answer("Error", "No such position is watched")
    responses["503"] = answer("Error", "What was asked could not be read")
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_LEG = _object(
    asset=TEXT,
    symbol=TEXT,
    decimals={"type": "integer"},
    amount_raw=UINT,
    amount=DECIMAL,
    price_raw=UINT,
    price=DECIMAL,
    value=DECIMAL,
    factor=DECIMAL,
)

SCHEMAS: dict[str, Schema] = {
    "Error": _object(schema={"const": "levmon.error/1"}, error=TEXT, hint=TEXT),
    "Summary": _object(
        schema={"const": "levmon.summary/1"},
        positions={"type": "integer"},
        levels={"type": "object", "additionalProperties": {"type": "integer"}},
        sums=_list(
            _object(unit=TEXT, decimals={"type": "integer"}, positions={"type": "integer"}, collateral=UINT, debt=UINT)
        ),
        chains=_list(_ref("Chain")),
    ),
    "Chain": _object(
        name=TEXT,
        chain_id={"type": "integer"},
        block={"type": ["object", "null"], "properties": {"number": UINT, "hash": TEXT, "timestamp": UINT}},
        trouble=TEXT,
    ),
    "Positions": _object(
        schema={"const": "levmon.positions/1"},
        page={"type": "integer"},
        pages={"type": "integer"},
        found={"type": "integer"},
        positions=_list(_ref("Position")),
    ),
    "Position": _object(
        schema={"const": "levmon.position/1"},
        id=TEXT,
        chain_id={"type": "integer"},
        protocol=TEXT,
        market=TEXT,
        owner=TEXT,
        block=_object(number=MAYBE, hash=MAYBE, timestamp=MAYBE),
        verdict={"enum": ["known", "no_debt", "unknown"]},
        health=_object(num=MAYBE, den=MAYBE, factor=MAYBE),
        reported={"type": "object", "additionalProperties": {"type": "string"}},
        liquidatable={"type": ["boolean", "null"]},
        gates=_list(_object(name=TEXT, state={"enum": ["open", "shut", "unknown"]}, detail=TEXT)),
        level={"enum": [level.value for level in Level]},
        collateral=_list(_LEG),
        debt=_list(_LEG),
        liquidation_prices=_list(
            _object(asset=TEXT, symbol=TEXT, price=DECIMAL, direction={"enum": ["below", "above"]}, change_pct=DECIMAL)
        ),
        input_age_s={"type": ["integer", "null"]},
        errors=_list(TEXT),
    ),
    "Explanation": _object(
        schema={"const": "levmon.explanation/1"},
        position=_ref("Position"),
        lines=_list(_object(name=TEXT, value=TEXT, formula=TEXT, source=TEXT)),
    ),
    "WhatIf": _object(
        schema={"const": "levmon.whatif/1"},
        shocks={"type": "object", "additionalProperties": {"type": "string", "pattern": "^-?[0-9]+/[0-9]+$"}},
        seconds={"type": "integer"},
        before=_ref("Position"),
        after=_ref("Position"),
    ),
    "Plan": _object(
        schema={"const": "levmon.plan/1"},
        position=_ref("Position"),
        guardian=TEXT,
        target=MAYBE,
        plans=_list({"type": "object"}),
        ladder=_list({"type": "object"}),
        partial=_list({"type": "object"}),
        refused=_list({"type": "object"}),
        note=TEXT,
        lacks=TEXT,
        helpers=_object(purse=TEXT, owner=TEXT),
    ),
    "Markets": _object(
        schema={"const": "levmon.markets/1"},
        markets=_list(
            _object(
                market=TEXT,
                chain_id={"type": "integer"},
                protocol=TEXT,
                unit=TEXT,
                positions={"type": "integer"},
                unknown={"type": "integer"},
                assets=_list(_object(asset=TEXT, symbol=TEXT, supplied=DECIMAL, owed=DECIMAL)),
                spread=_list(_object(from_pct=MAYBE, to_pct=MAYBE, positions={"type": "integer"}, debt=DECIMAL)),
                counted_at=MAYBE,
                falls=_list(
                    _object(
                        assets=TEXT,
                        change_pct=DECIMAL,
                        positions={"type": "integer"},
                        debt=DECIMAL,
                        unknown={"type": "integer"},
                    )
                ),
            )
        ),
    ),
    "Actions": _object(
        schema={"const": "levmon.actions/1"}, actions=_list({"type": "object"}), holds=_list({"type": "object"})
    ),
    "Alerts": _object(schema={"const": "levmon.alerts/1"}, alerts=_list({"type": "object"})),
    "System": _object(
        schema={"const": "levmon.system/1"},
        chains=_list(_ref("Chain")),
        endpoints=_list(
            _object(
                chain=TEXT,
                alias=TEXT,
                state=TEXT,
                head={"type": ["integer", "null"]},
                failures={"type": "integer"},
                trouble=TEXT,
            )
        ),
        looked_s=UINT,
        findings=_list({"type": "object"}),
    ),
}

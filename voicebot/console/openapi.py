"""OpenAPI of the HTTP side, written from the table of routes, so that it cannot be out of date."""

import re
from collections.abc import Mapping
from typing import Any

_BODIES: dict[str, dict[str, Any]] = {
    "accept": {"sip": {"type": "string", "maxLength": 200, "description": "telephone that rings"}},
    "note": {"text": {"type": "string", "maxLength": 500}},
    "status": {"status": {"type": "string", "enum": ["available", "busy", "away", "offline"]}},
}
_QUERIES = {"history": ("q", "skip")}


def document(routes: Mapping[tuple[str, str, str], str], api: object) -> dict[str, Any]:
    """The OpenAPI 3.1 document.

    Args:
        routes: Method, path, name of the method of ``api``; the role that is needed.
        api: The object whose docstrings describe the calls.
    """
    paths: dict[str, dict[str, Any]] = {}
    for (method, path, name), role in routes.items():
        parameters = [
            {
                "name": parameter,
                "in": "path",
                "required": True,
                "schema": {"type": "integer" if kind else "string"},
            }
            for parameter, kind in re.findall(r"\{(\w+)(:int)?\}", path)
        ]
        parameters += [
            {"name": q, "in": "query", "schema": {"type": "integer" if q == "skip" else "string"}}
            for q in _QUERIES.get(name, ())
        ]
        described = (getattr(api, name).__doc__ or "").strip()
        operation: dict[str, Any] = {
            "operationId": name,
            "summary": described,
            "description": f"Needs the role {role}.",
            "parameters": parameters,
            "responses": {
                "200": {"description": "done"},
                "4XX": {"description": "refused; the body says why"},
            },
            "security": [{"bearer": []}, {"session": []}],
        }
        if method == "POST":
            schema = {"type": "object", "properties": _BODIES.get(name, {})}
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        paths.setdefault(re.sub(r":int\}", "}", path), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "voicebot console", "version": "1"},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "voicebot_session"},
            }
        },
    }

"""What textPayload and jsonPayload say: message, severity, stack traces, requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import SEVERITY_NAMES, LogEntry
from transforms.parse.endpoints import EndpointMasker
from transforms.parse.payloads import apply_json, apply_text, canonical_json, read_trace
from transforms.parse.severities import infer_text_severity, read_severity
from transforms.parse.stacks import TOP_FRAMES, find_stack


def read_text(text: str, severity: int = 0) -> LogEntry:
    entry = LogEntry("acme", "web", 0, severity, "")
    apply_text(entry, text, EndpointMasker())
    return entry


def read_json(payload: dict[str, Any], severity: int = 0) -> LogEntry:
    entry = LogEntry("acme", "web", 0, severity, "")
    apply_json(entry, payload, EndpointMasker())
    return entry


# -------------------------------------------------------------------------------------- severity


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        ("ERROR", 500),
        ("DEFAULT", 0),
        ("", 0),
        (500, 500),
        ("500", 500),
        ("warning", 400),
        ("WARN", 400),
        ("fatal", 600),
        ("EMERGENCY", 800),
        (0, 0),
        ("LOUD", None),
        (7, None),
        ("9" * 5000, None),
        ("5_0", None),
    ],
)
def test_severity_is_read_by_name_or_number(value: str | int, severity: int | None) -> None:
    """Names in any case, the usual short forms and LogSeverity's numbers are known; others are None."""
    assert read_severity(value) == severity


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("ERROR disk full", "ERROR"),
        ("[error] disk full", "ERROR"),
        ("Error: disk full", "ERROR"),
        ("level=warn msg=slow", "WARNING"),
        ('time="2024-06-01T12:00:00Z" level=error msg="no route"', "ERROR"),
        ("E0102 15:04:05.678901       1 server.go:12] boom", "ERROR"),
        ("W0102 15:04:05.678901       1 server.go:12] slow", "WARNING"),
        ("F0102 15:04:05.678901       1 server.go:12] gone", "CRITICAL"),
        ("12:00:00.486 WARN  o.s.Pool#115 exhausted", "WARNING"),
        ("2024-06-01 12:00:00,123 [main] ERROR c.acme.Orders - boom", "ERROR"),
        ("2024-06-01 12:00:00,123 - shop.db - CRITICAL - boom", "CRITICAL"),
        ("WARNING:root:slow", "WARNING"),
        ("W, [2024-06-01T12:00:00.1 #1]  WARN -- : slow", "WARNING"),
        ("fail: Shop.Orders[0]\n      boom", "ERROR"),
        ("[12:00:00 WRN] slow", "WARNING"),
        ("2024/06/01 12:00:00 [crit] 31#31: *1 no space", "CRITICAL"),
        ("[Sat Jun 01 12:00:00.000000 2024] [ssl:warn] [pid 1] old", "WARNING"),
        ("[2024-06-01 12:00:00.000][12][debug][config] x", "DEBUG"),
        ("2024-06-01 12:00:00.000 UTC [9]: [1-1] db=a,user=b FATAL:  too many clients", "CRITICAL"),
        ("2024-06-01T12:00:00.000000Z 0 [Warning] [MY-010068] [Server] old", "WARNING"),
        ("Jun 01, 2024 1:02:03 PM com.acme.Shop run\nSEVERE: boom", "ERROR"),
        ("<3> ALERT: x", "ALERT"),
        ("done, no ERROR found", "DEFAULT"),
        ("The error was corrected", "DEFAULT"),
        ("information wants to be free", "DEFAULT"),
        ("orders: 5", "DEFAULT"),
        ("", "DEFAULT"),
    ],
)
def test_severity_is_inferred_from_how_a_line_begins(text: str, severity: str) -> None:
    """Prefixes of the usual loggers tell the severity; words in the middle of a sentence do not."""
    assert SEVERITY_NAMES[infer_text_severity(text)] == severity


@pytest.mark.parametrize(
    ("payload", "severity"),
    [
        ({"message": "m", "severity": "WARNING"}, "WARNING"),
        ({"message": "m", "level": "error"}, "ERROR"),
        ({"message": "m", "lvl": "dbg"}, "DEBUG"),
        ({"message": "m", "levelname": "CRITICAL", "levelno": 50}, "CRITICAL"),
        ({"message": "m", "levelno": 30}, "WARNING"),
        ({"message": "m", "level": 30}, "INFO"),
        ({"message": "m", "level": 50}, "ERROR"),
        ({"message": "m", "level": 60}, "CRITICAL"),
        ({"message": "m", "level": "40"}, "WARNING"),
        ({"message": "m", "level_value": 40_000}, "ERROR"),
        ({"message": "m", "log.level": "fatal"}, "CRITICAL"),
        ({"MESSAGE": "m", "PRIORITY": "3"}, "ERROR"),
        ({"MESSAGE": "level=error msg=x", "PRIORITY": "6"}, "ERROR"),
        ({"msg": "m", "s": "W", "c": "NETWORK"}, "WARNING"),
        ({"message": "ERROR m"}, "ERROR"),
        ({"message": "m", "level": {"a": 1}}, "DEFAULT"),
        ({"message": "m", "level": True}, "DEFAULT"),
        ({"message": "m", "level": 1e300}, "DEFAULT"),
        ({"message": "m", "level": 10**40}, "DEFAULT"),
        ({"@type": "type.googleapis.com/x.v1beta1.ReportedErrorEvent", "message": "m"}, "ERROR"),
    ],
)
def test_severity_is_inferred_from_json_fields(payload: dict[str, Any], severity: str) -> None:
    """The level fields of the usual JSON loggers are understood, names and numbers alike."""
    entry = read_json(payload)
    assert SEVERITY_NAMES[entry.severity] == severity
    assert entry.severity_inferred == (severity != "DEFAULT")


def test_severity_of_the_entry_is_never_overridden() -> None:
    """What the entry says stays, and is not marked as inferred."""
    for entry in (read_json({"message": "ERROR x", "level": "error"}, 200), read_text("ERROR x", 200)):
        assert (entry.severity, entry.severity_inferred) == (200, False)


# --------------------------------------------------------------------------------------- message


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"message": "hello", "msg": "no"}, "hello"),
        ({"msg": "hello"}, "hello"),
        ({"log": "hello\n"}, "hello"),
        ({"event": "hello", "user": 1}, "hello"),
        ({"error": "hello"}, "hello"),
        ({"error": {"code": 5, "message": "hello"}}, "hello"),
        ({"message": "dial failed", "error": "refused"}, "dial failed: refused"),
        ({"message": "dial failed: refused", "error": "refused"}, "dial failed: refused"),
        ({"fields": {"message": "hello"}, "target": "a::b"}, "hello"),
        ({"log": '{"level":"warn","msg":"hello"}'}, "hello"),
        ({"b": 1, "a": {"d": 2, "c": None}}, '{"a":{"c":null,"d":2},"b":1}'),
        ({"big": 10**30}, '{"big":1000000000000000000000000000000}'),
        (
            {"reason": "BackOff", "message": "restarting", "involvedObject": {"kind": "Pod"}},
            "BackOff: restarting",
        ),
        (
            {
                "connection": {
                    "src_ip": "10.0.0.1",
                    "src_port": 5,
                    "dest_ip": "10.0.0.2",
                    "dest_port": 443,
                    "protocol": 6,
                }
            },
            "tcp 10.0.0.1:5 -> 10.0.0.2:443",
        ),
    ],
)
def test_message_is_the_usual_field_else_the_object(payload: dict[str, Any], message: str) -> None:
    """The message is what a person would quote; without one, compact JSON with sorted keys."""
    assert read_json(payload).message == message


def test_json_inside_text_is_read_as_json() -> None:
    """A textPayload that is a JSON object is read like a jsonPayload; one that is not stays text."""
    entry = read_text('{"level":"error","msg":"boom","trace_id":"ab12","span_id":"cd","parent_id":"ef"}\n')
    assert (entry.severity, entry.message) == (500, "boom")
    assert (entry.trace_id, entry.span_id, entry.parent_span_id) == ("ab12", "cd", "ef")
    for text in ('{"cut": ', "{not json}", "{" * 5000 + "}", '{"a":' * 2000 + "1" + "}" * 2000, '{"a": NaN}'):
        assert read_text(text).message == text.strip()


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_canonical_json_does_not_depend_on_the_order_of_keys(payload: dict[str, Any]) -> None:
    """The same object gives the same text in whatever order its keys came."""
    assert canonical_json(payload) == canonical_json(dict(reversed(payload.items())))


@pytest.mark.parametrize(
    ("trace", "trace_id"),
    [
        ("projects/acme/traces/6f3cbf058c2765548a39ad724905d6a1", "6f3cbf058c2765548a39ad724905d6a1"),
        ("6f3cbf058c2765548a39ad724905d6a1", "6f3cbf058c2765548a39ad724905d6a1"),
        ("projects/acme/traces/" + "0" * 32, ""),
        ("00ab", "00ab"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_trace_id_is_the_last_part(trace: str, trace_id: str) -> None:
    """Full resource names and bare ids are read alike; all zeros mean no trace."""
    assert read_trace(trace) == trace_id


# -------------------------------------------------------------------------------- stack traces

JAVA = """Order failed
java.lang.IllegalStateException: no stock
\tat com.acme.Stock.take(Stock.java:12)
\tat com.acme.Orders.place(Orders.java:40)
Caused by: java.sql.SQLTimeoutException: waited 30 s
\tat com.acme.Db.query(Db.java:7)
\t... 12 more"""
PYTHON = """Request failed
Traceback (most recent call last):
  File "/app/web.py", line 10, in handle
    place(order)
  File "/app/orders.py", line 20, in place
    raise OutOfStock(order)
shop.errors.OutOfStock: nothing left"""
NODE = """TypeError: Cannot read properties of undefined (reading 'id')
    at Cart.total (/app/cart.js:3:5)
    at async Server.handle (node:internal/http:1:2)
    at /app/index.js:9:1"""
GO = """panic: runtime error: index out of range [3] with length 3

goroutine 1 [running]:
main.total(0xc000012345, 0x3)
\t/src/shop/cart.go:12 +0x1d
main.main()
\t/src/shop/main.go:5 +0x2
exit status 2"""
DOTNET = """Unhandled exception. System.InvalidOperationException: no elements
   at Shop.Cart.Total(Order order) in /src/Cart.cs:line 12
   at Shop.Program.Main()"""
RUBY = """app/cart.rb:12:in `total': undefined method `price' for nil (NoMethodError)
\tfrom app/orders.rb:3:in `place'
\tfrom main.rb:1:in `<main>'"""
RAILS = """NoMethodError (undefined method `price' for nil):

app/models/cart.rb:12:in `total'
app/controllers/orders_controller.rb:3:in `create'"""
PHP = """PHP Fatal error:  Uncaught RuntimeException: no stock in /app/cart.php:12
Stack trace:
#0 /app/orders.php(40): Cart->total()
#1 {main}
  thrown in /app/cart.php on line 12"""
RUST = """thread 'main' panicked at src/cart.rs:12:5:
index out of bounds: the len is 3 but the index is 3
stack backtrace:
   0: std::panicking::begin_panic
             at /rustc/abc/library/std/src/panicking.rs:1:2
   1: shop::cart::total
             at ./src/cart.rs:12:5
   2: shop::main"""


@pytest.mark.parametrize(
    ("text", "exception", "frame", "message"),
    [
        (
            JAVA,
            "java.lang.IllegalStateException",
            "com.acme.Stock.take(Stock.java:12)",
            "Order failed\njava.lang.IllegalStateException: no stock\n"
            "Caused by: java.sql.SQLTimeoutException: waited 30 s",
        ),
        (
            PYTHON,
            "shop.errors.OutOfStock",
            "place (/app/orders.py:20)",
            "Request failed\nshop.errors.OutOfStock: nothing left",
        ),
        (NODE, "TypeError", "Cart.total (/app/cart.js:3:5)", NODE.partition("\n")[0]),
        (GO, "panic", "main.total (/src/shop/cart.go:12)", GO.partition("\n")[0]),
        (
            DOTNET,
            "System.InvalidOperationException",
            "Shop.Cart.Total(Order order) in /src/Cart.cs:line 12",
            DOTNET.partition("\n")[0],
        ),
        (
            RUBY,
            "NoMethodError",
            "app/cart.rb:12:in `total'",
            "NoMethodError: undefined method `price' for nil",
        ),
        (RAILS, "NoMethodError", "app/models/cart.rb:12:in `total'", RAILS.partition("\n")[0]),
        (PHP, "RuntimeException", "/app/orders.php(40): Cart->total()", PHP.partition("\n")[0]),
        (RUST, "panic", "shop::cart::total", "\n".join(RUST.split("\n")[:2])),
    ],
)
def test_stack_trace_is_one_event(text: str, exception: str, frame: str, message: str) -> None:
    """A stack trace of any usual language gives type, innermost frame and a message without frames."""
    entry = read_text(text)
    assert (entry.exception, entry.frames.split("\n")[0], entry.message) == (exception, frame, message)
    assert entry.severity >= 500
    assert entry.severity_inferred


def test_only_top_frames_are_kept() -> None:
    """A stack overflow does not make an entry endless."""
    stack = find_stack("java.lang.StackOverflowError\n" + "\tat com.acme.A.run(A.java:1)\n" * 5000)
    assert stack is not None
    assert stack.frames.count("\n") == TOP_FRAMES - 1


@pytest.mark.parametrize(
    "text",
    [
        "one line: java.lang.Error",
        "shopping list\n  eggs\n  at noon: milk",
        "a\nb",
        "#1 (x)\n#2 (y)",
        "\n" * 100,
    ],
)
def test_lines_of_prose_are_no_stack_trace(text: str) -> None:
    """Texts of several lines without frames have no stack trace."""
    assert find_stack(text) is None


@given(st.text(alphabet="at .()#:\n\tFile\"'jvExceptionError0", max_size=200))
def test_any_text_may_be_searched_for_a_stack_trace(text: str) -> None:
    """Looking for a stack trace never raises, and what is said comes from the text."""
    stack = find_stack(text)
    assert stack is None or stack.frames


@pytest.mark.parametrize(
    "payload",
    [
        {"message": "place failed", "stack_trace": JAVA.partition("\n")[2]},
        {"message": "place failed", "exception": JAVA.partition("\n")[2]},
        {"msg": "place failed", "err": {"type": "java.lang.IllegalStateException", "stack": JAVA}},
        {"message": "place failed", "error": {"stack": JAVA, "message": "no stock"}},
        {
            "message": "place failed",
            "exception.type": "java.lang.IllegalStateException",
            "exception.stacktrace": JAVA,
        },
    ],
)
def test_stack_trace_of_a_json_field_is_found(payload: dict[str, Any]) -> None:
    """The fields that loggers have for stack traces give exception and frames; the message stays."""
    entry = read_json(payload)
    assert (entry.exception, entry.message) == ("java.lang.IllegalStateException", "place failed")
    assert entry.frames.startswith("com.acme.Stock.take(Stock.java:12)\n")
    assert entry.severity == 500


def test_error_reporting_shape_gives_location_user_and_endpoint() -> None:
    """reportLocation, user and httpRequest of an error event are read, and it is no request."""
    context = {
        "reportLocation": {"filePath": "orders.py", "lineNumber": 20, "functionName": "place"},
        "user": "u-17",
        "httpRequest": {"method": "POST", "url": "https://shop/orders/17", "responseStatusCode": 500},
    }
    entry = read_json({"message": "no stock", "context": context})
    assert (entry.frames, entry.principal) == ("place (orders.py:20)", "u-17")
    assert (entry.endpoint, entry.http_status, entry.is_request) == ("POST /orders/{id}", 500, False)


# -------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {
                "request": "GET /a/12?x=1 HTTP/1.1",
                "status": "502",
                "request_time": "0.250",
                "remote_addr": "203.0.113.9",
            },
            ("GET /a/{id}", 502, 250_000, "203.0.113.9", "GET /a/{id} 502"),
        ),
        (
            {
                "req": {"method": "GET", "url": "/a/12"},
                "res": {"statusCode": 200},
                "responseTime": 12,
                "msg": "done",
            },
            ("GET /a/{id}", 200, 12_000, "", "done"),
        ),
        (
            {"method": "get", "path": "/a", "status": 403, "latency": "1m2.5s", "client_ip": "2001:db8::1"},
            ("GET /a", 403, 62_500_000, "2001:db8::1", "GET /a 403"),
        ),
        (
            {"method": "GET", "path": "/a", "status": 200, "duration": 17},
            ("GET /a", 200, -1, "", "GET /a 200"),
        ),
    ],
)
def test_requests_of_json_loggers_are_requests(payload: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """nginx, pino and the like: method, path and status make a request, units decide the latency."""
    entry = read_json(payload)
    assert entry.is_request
    assert (entry.endpoint, entry.http_status, entry.latency_us, entry.remote_ip, entry.message) == expected
    assert entry.is_denied == (entry.http_status == 403)


@pytest.mark.parametrize(
    "payload",
    [{"method": "login", "path": "/x", "status": 200}, {"method": "GET"}, {"request": "GET", "status": True}],
)
def test_other_json_is_no_request(payload: dict[str, Any]) -> None:
    """A field that is merely called method makes no request."""
    assert not read_json({"message": "m", **payload}).is_request


@pytest.mark.parametrize(
    ("text", "endpoint", "status", "remote_ip"),
    [
        (
            '203.0.113.9 - - [01/Jun/2024:12:00:00 +0000] "POST /login?a=b HTTP/1.1" 401 12 "-" "x"',
            "POST /login",
            401,
            "203.0.113.9",
        ),
        (
            'INFO:     127.0.0.1:5 - "GET /items/57 HTTP/1.1" 500 Internal Server Error',
            "GET /items/{id}",
            500,
            "",
        ),
        ('[2024-06-01T12:00:00.000Z] "GET /a HTTP/2" 503 UF 0 0', "GET /a", 503, ""),
    ],
)
def test_lines_of_access_logs_are_requests(text: str, endpoint: str, status: int, remote_ip: str) -> None:
    """The common, combined and Envoy formats of access logs are understood."""
    entry = read_text(text)
    assert (entry.is_request, entry.endpoint, entry.http_status, entry.remote_ip) == (
        True,
        endpoint,
        status,
        remote_ip,
    )


def test_grpc_calls_are_requests() -> None:
    """A finished gRPC call is a request of its method, denied where its code says so."""
    entry = read_json(
        {
            "grpc.service": "shop.Orders",
            "grpc.method": "Place",
            "grpc.code": "PermissionDenied",
            "grpc.time_ms": 1.5,
        }
    )
    assert (entry.endpoint, entry.latency_us, entry.is_denied) == ("/shop.Orders/Place", 1500, True)

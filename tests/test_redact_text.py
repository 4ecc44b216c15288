"""What is found in a text and what stays. Everything that looks like a token is put together at run time."""

from __future__ import annotations

import base64
import re

import pytest

from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, OperatorPattern, RedactSettings

REDACTOR = Redactor(
    RedactSettings(
        key=DemoKey(),
        operator_patterns=(
            OperatorPattern("employee_id", r"\bEMP-\d{4}\b"),
            OperatorPattern("patient", r"(?i)patient (\pL+)"),
        ),
    )
)
ALPHANUMERIC = "Q7wE2rT9yU4iO1pA6sD3fG8hJ5kL0zX2cV7bN4m" * 3
JWT = "ey" + "JhbGciOiJIUzI1NiJ9" + "." + "eyJzdWIiOiIxMjM0In0" + "." + "c2lnbmF0dXJl-_x"
BASIC = base64.b64encode(b"maria:open sesame").decode()
PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


def pem(newline: str, name: str = "RSA PRIVATE") -> str:
    dashes = "-" * 5
    return newline.join(
        [f"{dashes}BEGIN {name} KEY{dashes}", PEM_BODY, PEM_BODY, f"{dashes}END {name} KEY{dashes}"]
    )


def shapes(text: str) -> str:
    """`text` redacted, its placeholders reduced to their kind."""
    return re.sub(r"<([a-z_]+):v1:[0-9a-f]{10}>", r"<\1>", REDACTOR.text("tenant", text))


KNOWN_TOKENS = [
    "AI" + "za" + ALPHANUMERIC[:35],
    "ya" + "29." + ALPHANUMERIC[:60],
    "GOC" + "SPX-" + ALPHANUMERIC[:28],
    "AK" + "IA" + "Q7WE2RT9YU4IO1PA",
    "AS" + "IA" + "Q7WE2RT9YU4IO1PA",
    "gh" + "p_" + ALPHANUMERIC[:36],
    "gh" + "s_" + ALPHANUMERIC[:36],
    "github" + "_pat_" + ALPHANUMERIC[:22] + "_" + ALPHANUMERIC[:59],
    "gl" + "pat-" + ALPHANUMERIC[:20],
    "xo" + "xb-1234567890-" + ALPHANUMERIC[:24],
    "xa" + "pp-1-A0-" + ALPHANUMERIC[:24],
    "sk" + "_live_" + ALPHANUMERIC[:24],
    "rk" + "_test_" + ALPHANUMERIC[:24],
    "wh" + "sec_" + ALPHANUMERIC[:32],
    "s" + "k-" + ALPHANUMERIC[:48],
    "s" + "k-proj-" + ALPHANUMERIC[:20] + "_" + ALPHANUMERIC[:20],
    "s" + "k-ant-api03-" + ALPHANUMERIC[:40],
    "S" + "G." + ALPHANUMERIC[:22] + "." + ALPHANUMERIC[:43],
    "np" + "m_" + ALPHANUMERIC[:36],
    "h" + "f_" + ALPHANUMERIC[:34],
    "hv" + "s." + ALPHANUMERIC[:24],
    "py" + "pi-AgEIcHlwaS5vcmc" + ALPHANUMERIC[:60],
    "1" + "//0" + ALPHANUMERIC[:40],
]


@pytest.mark.parametrize("token", KNOWN_TOKENS)
@pytest.mark.parametrize(
    "around", ["{}", "got {} back", "'{}'", "k={}&x=1", r"\n{}\n", "%3D{}", "中{}文", "x:{},y"]
)
def test_known_tokens_are_found_in_any_surroundings(token: str, around: str) -> None:
    """A token of a known form leaves no six of its characters, whatever stands around it."""
    redacted = REDACTOR.text("tenant", around.format(token))
    assert ":v1:" in redacted
    assert not any(token[i : i + 6] in redacted for i in range(4, len(token) - 5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # e-mail
        ("mail to joe@example.com now", "mail to <email> now"),
        ("JOE.DOE+tag@Mail.EXAMPLE.co.uk.", "<email>."),
        ("?user=joe%40example.com&x=1", "?user=<email>&x=1"),
        ("?user=joe%2540example.com&x=1", "?user=<email>&x=1"),
        (r"\u003cjoe@example.com\u003e", r"\u003c<email>\u003e"),
        (r"to\njoe@example.com\nbye", r"to\n<email>\nbye"),
        (r"joe\u0040example.com", "<email>"),
        ("o'brien@example.com", "<email>"),
        ("'joe@example.com'", "'<email>'"),
        ("jürgen@exämple.de", "<email>"),
        ("联系joe@example.com。", "<email>。"),
        ("jo\u200be@exam\u200bple.com", "<email>"),
        ("joe＠example.com", "<email>"),
        # addresses
        ("from 203.0.113.7:8080", "from <ip>:8080"),
        ("/203.0.113.7, host/10.2.3.4:55", "/<ip>, host/<ip>:55"),
        (r"\n10.2.3.4\t10.2.3.5", r"\n<ip>\t<ip>"),
        ("%2F10.2.3.4%2F24", "%2F<ip>%2F24"),
        ("10.2.3.0/24, 010.002.003.004.", "<ip>/24, <ip>."),
        ("2001:db8::7, [2001:DB8::7]:443", "<ip>, [<ip>]:443"),
        ("fe80::1ff:fe23:4567:890a%eth0", "<ip>%eth0"),
        ("1:2:3:4:5:6:7:8:8080", "<ip>:8080"),
        ("client:2001:db8::7: refused", "client:<ip>: refused"),
        ("::ffff:10.2.3.4 and 2001:db8:1:2:3:4:5:6", "<ip> and <ip>"),
        # cards
        ("4111 1111 1111 1111", "<card>"),
        ("pan=4111111111111111;", "pan=<card>;"),
        ("4111-1111-1111-1111 3782 822463 10005", "<card> <card>"),
        ("order 1234 5555 5555 5555 4444 done", "order 1234 <card> done"),
        # key and value
        ("password=hunter2 x", "password=<password> x"),
        ("PASSWORD: hunter2", "PASSWORD: <password>"),
        ("db_passwd='it''s'", "db_passwd='<password>''s'"),
        ("pwd=a,b)c!&d user=x", "pwd=<password> user=x"),
        ("User(name=joe, password=a)b, age=3)", "User(name=joe, password=<password>, age=3)"),
        ("User(password=hunter2)", "User(password=<password>)"),
        ("?token=abc&user=joe", "?token=<token>&user=joe"),
        (r"?token=abc\u0026user=joe", r"?token=<token>\u0026user=joe"),
        ("Server=db;Password=p;w;Database=x", "Server=db;Password=<password>;Database=x"),
        ('{"password":"a\\"b","x":1}', '{"password":"<password>","x":1}'),
        ('{"clientSecret" : "a b c"}', '{"clientSecret" : "<key>"}'),
        (r'{"m":"{\"api_key\":\"a b\",\"x\":1}"}', r'{"m":"{\"api_key\":\"<key>\",\"x\":1}"}'),
        (r"{\\\"apikey\\\":\\\"a\\\"}", r"{\\\"apikey\\\":\\\"<key>\\\"}"),
        ("%22password%22%3A%22hunter2%22%7D", "%22password%22%3A%22<password>%22%7D"),
        ("{'secret': 'a b', 'x': 1}", "{'secret': '<key>', 'x': 1}"),
        (':password => "a b"', ':password => "<password>"'),
        ("--password hunter2 --user joe", "--password <password> --user joe"),
        ("<ns:password>a b</ns:password>", "<ns:password><password></ns:password>"),
        ("AWS_SECRET_ACCESS_KEY=wJalr/XUtn+FEMI", "AWS_SECRET_ACCESS_KEY=<key>"),
        ("X-Goog-Signature=00aa&x=1", "X-Goog-Signature=<key>&x=1"),
        ("pass\u00adword=hunter2", "password=<password>"),
        # headers
        ("Authorization: Bearer a.b-c", "Authorization: Bearer <token>"),
        ('"Authorization":["Bearer a.b-c"]', '"Authorization":["Bearer <token>"]'),
        ("authorization=Basic " + BASIC + ", Host=x", "authorization=Basic <token>, Host=x"),
        ('Authorization: Digest username="joe", response="00aa"', "Authorization: Digest <token>"),
        ("sent Bearer " + ALPHANUMERIC[:20], "sent Bearer <token>"),
        ("sent Basic " + BASIC, "sent Basic <token>"),
        ("Cookie: a=b; sid=c; d Host", "Cookie: <token> Host"),
        ("Set-Cookie: JSESSIONID=abc; Path=/", "Set-Cookie: <token>"),
        ("JSESSIONID=abc;", "JSESSIONID=<token>;"),
        # the rest
        (JWT + " ok", "<jwt> ok"),
        ("postgres://app:p@ss@db:5432/x", "postgres://<connection_string>@db:5432/x"),
        ("redis://:s3cret@cache/0", "redis://<connection_string>@cache/0"),
        ("amqp://u:p/w@mq/x", "amqp://<connection_string>@mq/x"),
        ("jdbc:oracle:thin:scott/tiger@db:1521", "jdbc:oracle:thin:<connection_string>@db:1521"),
        (f"key {pem(chr(10))} end", "key <private_key> end"),
        (f"key {pem(chr(92) + 'n')} end", "key <private_key> end"),
        (f"key {pem(chr(10), 'EC PRIVATE')[:90]}", "key <private_key>"),
        (f"{PEM_BODY}\n" + pem("\n")[-29:] + " end", "<private_key> end"),
        ("by EMP-4711 and EMP-47111", "by <employee_id> and EMP-47111"),
        ("Patient Müller left", "Patient <patient> left"),
    ],
)
def test_secrets_and_personal_data_become_placeholders(text: str, expected: str) -> None:
    """Secrets and personal data are replaced, what stands around them is not."""
    assert shapes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "trace 6f3cbf058c2765548a39ad724905d6a1 span 576f9c38fc25e197",
        "SpanID: 4716982345678901 spanId=4111111111111111",
        "id 8a533bf9-bd12-4608-a8eb-606890982448",
        "id 41111111-1111-1111-4111-111111111111",
        "at com.example.shop.Cart$Item.add(Cart.java:42)",
        "std::vector a::b ::abc Token::new Foo::bar ad::be",
        "version 1.2.3 v1.2.3.4 version=1.2.3.4 libfoo-1.2.3.4.jar jdk1.8.0.2 1.2.3.4-SNAPSHOT",
        "Mozilla/5.0 Chrome/120.0.0.0 Safari/537.36",
        "1.3.6.1.4.1.311 999.1.2.3 1.2.3",
        "127.0.0.1:5432 [::1]:80 :: 0.0.0.0 255.255.255.0 10.0.0.0/8",
        "2024-05-06T07:08:09.123456789Z 16:42:09.495 00:1a:2b:3c:4d:5e",
        "took 1715000000123456789 ns at 1715000000123, ratio 0.4111111111111111",
        "1234567890123456 4111111111111112 4111 1111 1111 1112",
        "/var/lib/app/data-2024.log /api/v1/users/42?page=2&sort=asc",
        "http://host:8080/a https://example.com/x?y=1 jdbc:mysql://db:3306/x",
        "git clone a@b image@2x.png app@sha256:abc lodash@4.17.21 Foo@1b2c3d",
        "service-123456@gcp-sa-pubsub.iam.gserviceaccount.com",
        "password: null, token=true, secret: ******, pwd=, api_key=[REDACTED]",
        "max_tokens=512 token_count=3 tokens: 7 password_changed=x secretName=y inside: x assign: y",
        "basic authentication failed, bearer authentication required, Bearer Token",
        "PWD=/home/app session expired, authorization failed",
        "task-aaaaaaaaaaaaaaaaaaaaaaaa disk-0123456789abcdef01234567",
        "100% done, 50%20 off, a%2Fb",
        "emoji 👩\u200d🚀 stays",
        "<email:v1:0123456789> <token:v1:0123456789> password=<password:v12:0123456789>",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Ids, versions, times, paths and names of code are left as they are, and the very object comes back."""
    assert REDACTOR.text("tenant", text) is text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("joe@example.com", "JOE%40Example.com"),
        ("10.2.3.4", "host/010.002.003.004:80"),
        ("2001:db8::7", "2001:0DB8:0:0:0:0:0:7"),
        ("4111111111111111", "4111-1111-1111-1111"),
        ('{"password":"hunter2"}', "password=hunter2"),
        ("Authorization: Bearer " + ALPHANUMERIC[:20], "got Bearer " + ALPHANUMERIC[:20]),
    ],
)
def test_spellings_of_one_value_share_a_placeholder(first: str, second: str) -> None:
    """A value has one placeholder, however it is spelled."""
    placeholders = [
        re.findall(r"<[a-z_]+:v1:[0-9a-f]{10}>", REDACTOR.text("t", text)) for text in (first, second)
    ]
    assert placeholders[0] == placeholders[1] != []


@pytest.mark.parametrize(
    "text",
    [
        "password=<email:v1:0123456789>hunter2",
        "<password:v1:0123456789>@example.com",
        "<ip:v1:<ip:v1:0123456789>>",
        "<token:v1:joe@example.com>",
        "<token:v1:012345678",
        "token:<token:v1:0123456789>,token:abc",
        "postgres://<email:v1:0123456789>:<ip:v1:0123456789>@db",
        "\x00\x1f<a:v1:0123456789>\x1fpassword=x",
    ],
)
def test_text_that_looks_like_placeholders_is_stable(text: str) -> None:
    """Forged, nested and broken placeholders neither hide a secret nor change on a second redaction."""
    once = REDACTOR.text("tenant", text)
    assert REDACTOR.text("tenant", once) == once
    assert "hunter2" not in once
    assert "joe@" not in once
    assert "abc" not in once


def test_lone_surrogates_become_question_marks() -> None:
    """Text that no store could encode is mended, and still searched."""
    assert shapes("a\ud800 joe@example.com") == "a? <email>"
    assert shapes("a\ud800") == "a?"

"""What the services say: their everyday lines, warnings and failures, by service."""

from __future__ import annotations

from typing import Final

from aiops.simulate.messages import Failure, Message, ServiceMessages


def java(exception: str, text: str, *frames: str) -> str:
    return "\n".join([f"{exception}: {text}", *(f"\tat {frame}" for frame in frames)])


def python(exception: str, text: str, *frames: str) -> str:
    lines = [
        f'  File "/app/{path}", line {line}, in {name}\n    {code}'
        for path, line, name, code in map(_split, frames)
    ]
    return "\n".join(["Traceback (most recent call last):", *lines, f"{exception}: {text}"])


def _split(frame: str) -> tuple[str, str, str, str]:
    path, line, name, code = frame.split("|")
    return path, line, name, code


def node(exception: str, text: str, *frames: str) -> str:
    return "\n".join([f"{exception}: {text}", *(f"    at {frame}" for frame in frames)])


def go(text: str, *frames: str) -> str:
    return "\n".join([f"panic: {text}", "", "goroutine {pid} [running]:", *frames])


def _error(text: str, status: int = 500, fields: dict[str, object] | None = None) -> Failure:
    return Failure(status, Message(text, "ERROR", fields))


def _warning(text: str, fields: dict[str, object] | None = None) -> Message:
    return Message(text, "WARNING", fields)


_JAVA_LOG: Final[dict[str, object]] = {
    "logger": "com.shop.orders.OrderService",
    "thread": "http-nio-8080-exec-{shard}",
}
_JAVA_ERROR: Final[dict[str, object]] = {
    **_JAVA_LOG,
    "@type": "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent",
    "serviceContext": {"service": "checkout"},
}

MESSAGES: Final[dict[str, ServiceMessages]] = {
    "edge": ServiceMessages(),
    "frontend": ServiceMessages(
        everyday={
            "home": (Message("rendered home for {user} in {ms} ms"),),
            "product": (
                Message("rendered product {sku} in {ms} ms"),
                Message("product page {sku} served from cache, age {many} s"),
            ),
            "search": (Message("search returned {many} hits in {ms} ms"),),
            "cart": (Message("cart {uuid} shown with {count} items"),),
            "add": (Message("{user} added {sku} to cart {uuid}"),),
            "checkout": (Message("checkout of cart {uuid} finished, order {order}"),),
            "login": (Message("session started for {user}"),),
        },
        warnings=(
            _warning("slow upstream: catalog answered after {slow_ms} ms"),
            _warning("image proxy returned 304 without etag for {sku}"),
        ),
        rare=(Message("newsletter sign-up of {email} from {ip}"),),
        background=(
            _error(
                node(
                    "TypeError",
                    "Cannot read properties of undefined (reading 'price')",
                    "renderProduct (/srv/app/views/product.js:118:27)",
                    "Layer.handle (/srv/app/node_modules/express/lib/router/layer.js:95:5)",
                )
            ),
        ),
        fault=_error(
            node(
                "Error",
                "template 'layout' not found in bundle {hex}",
                "loadTemplate (/srv/app/views/loader.js:41:11)",
                "render (/srv/app/views/render.js:88:17)",
                "Layer.handle (/srv/app/node_modules/express/lib/router/layer.js:95:5)",
            )
        ),
        regression=_error(
            node(
                "ReferenceError",
                "currencyFormatter is not defined",
                "formatPrice (/srv/app/lib/price.js:12:5)",
                "renderCart (/srv/app/views/cart.js:64:21)",
            )
        ),
    ),
    "catalog": ServiceMessages(
        everyday={
            "list": (Message("listed {many} products from shard {shard} in {ms}ms"),),
            "get": (
                Message("product {sku} found in cache"),
                Message("product {sku} loaded from store in {ms}ms"),
            ),
            "search": (Message('query "{topic}" matched {many} products in {ms}ms'),),
        },
        chatter=(
            Message("cache lookup {hex} took {ms}us"),
            Message("grpc pool: {count} idle, {shard} busy"),
            Message("price rule {shard} applied to {count} lines"),
            Message("shard {shard} answered {bytes} bytes"),
        ),
        warnings=(
            _warning("cache miss storm on shard {shard}: {many} keys"),
            _warning("index shard {shard} is {slow_ms}ms behind"),
        ),
        rare=(Message("price feed pulled with token {token}", "DEBUG"),),
        background=(_error("failed to decode product {sku}: unexpected end of JSON input"),),
        fault=_error(
            go(
                "runtime error: invalid memory address or nil pointer dereference",
                "main.(*Store).Lookup(0x0, 0xc000{hex})",
                "\t/src/catalog/store.go:214 +0x1a5",
                "main.(*Server).GetProduct(0xc0001a2000, 0xc000{hex})",
                "\t/src/catalog/server.go:97 +0x7c",
            )
        ),
        regression=_error(
            go(
                "assignment to entry in nil map",
                "main.(*PriceIndex).Add(0xc000{hex}, {count})",
                "\t/src/catalog/price_index.go:58 +0x45",
            )
        ),
    ),
    "cart": ServiceMessages(
        everyday={
            "read": (
                Message(
                    "cart {uuid} read, {count} items",
                    fields={"logger": "cart", "cart_id": "{uuid}", "items": "{count}"},
                ),
            ),
            "add": (Message("item {sku} added to cart {uuid}", fields={"logger": "cart", "sku": "{sku}"}),),
            "empty": (Message("cart {uuid} emptied", fields={"logger": "cart"}),),
        },
        warnings=(_warning("redis reconnect took {slow_ms} ms", {"logger": "cart.redis"}),),
        rare=(Message("cart shared with {email}", fields={"logger": "cart.share"}),),
        background=(
            _error("optimistic lock failed on cart {uuid} after {count} tries", 500, {"logger": "cart"}),
        ),
        fault=_error(
            node(
                "ReplyError",
                "READONLY You can't write against a read only replica.",
                "parseError (/app/node_modules/redis-parser/lib/parser.js:179:12)",
                "CartStore.save (/app/src/store.js:52:9)",
            ),
            500,
            {"logger": "cart.redis"},
        ),
        regression=_error(
            node(
                "SyntaxError",
                "Unexpected token u in JSON at position 0",
                "JSON.parse (<anonymous>)",
                "CartStore.load (/app/src/store.js:31:22)",
            ),
            500,
            {"logger": "cart"},
        ),
    ),
    "checkout": ServiceMessages(
        everyday={
            "place": (
                Message(
                    "order {order} placed by {user}: {count} items, {amount} EUR",
                    fields={**_JAVA_LOG, "order_id": "{order}", "amount": "{amount}"},
                ),
                Message("order {order} confirmed after {ms} ms", fields={**_JAVA_LOG, "order_id": "{order}"}),
            )
        },
        warnings=(_warning("voucher service slow: {slow_ms} ms", _JAVA_LOG),),
        rare=(Message("guest order {order} of {email}, phone withheld", fields=_JAVA_LOG),),
        background=(
            _error(
                java(
                    "java.lang.IllegalStateException",
                    "order {order} is already closed",
                    "com.shop.orders.OrderService.close(OrderService.java:203)",
                ),
                500,
                _JAVA_ERROR,
            ),
        ),
        fault=_error(
            java(
                "java.lang.NullPointerException",
                "Cannot invoke Address.country() because address is null",
                "com.shop.orders.TaxCalculator.rate(TaxCalculator.java:77)",
                "com.shop.orders.OrderService.place(OrderService.java:141)",
                "com.shop.orders.OrderController.post(OrderController.java:58)",
            ),
            500,
            _JAVA_ERROR,
        ),
        regression=_error(
            java(
                "java.lang.NoSuchMethodError",
                "com.shop.money.Money.round(int)",
                "com.shop.orders.Totals.sum(Totals.java:44)",
                "com.shop.orders.OrderService.place(OrderService.java:152)",
            ),
            500,
            _JAVA_ERROR,
        ),
    ),
    "payment": ServiceMessages(
        everyday={
            "charge": (
                Message(
                    "charge of {amount} EUR for {order} authorized in {ms} ms",
                    fields={"component": "charges", "order_id": "{order}"},
                ),
            )
        },
        warnings=(
            _warning("gateway answered slowly ({slow_ms} ms), attempt {attempt}", {"component": "gateway"}),
        ),
        rare=(
            Message("declined card {card} of {email}", fields={"component": "charges"}),
            Message("gateway request Authorization: Bearer {jwt}", "DEBUG", {"component": "gateway"}),
        ),
        background=(_error("gateway closed the connection: ECONNRESET", 502, {"component": "gateway"}),),
        fault=_error(
            python(
                "stripe.error.APIConnectionError",
                "could not reach payment gateway for {order}",
                "charges.py|88|charge|return gateway.authorize(order)",
                "gateway.py|142|authorize|raise APIConnectionError(message)",
            ),
            500,
            {"component": "charges"},
        ),
        regression=_error(
            python(
                "decimal.InvalidOperation",
                "[<class 'decimal.ConversionSyntax'>]",
                "charges.py|71|amount_of|return Decimal(order['total'])",
            ),
            500,
            {"component": "charges"},
        ),
    ),
    "auth": ServiceMessages(
        everyday={
            "login": (
                Message("login of {user} succeeded", fields={"component": "sessions", "user_id": "{user}"}),
            ),
            "verify": (
                Message("session of {user} is valid for {many} s", "DEBUG", {"component": "sessions"}),
            ),
        },
        warnings=(_warning("clock skew of {ms} ms to the identity provider", {"component": "oidc"}),),
        rare=(Message("sent password reset to {email}", fields={"component": "recovery"}),),
        background=(_error("could not refresh signing keys: timeout", 500, {"component": "oidc"}),),
        fault=_error(
            python(
                "jwt.exceptions.InvalidKeyError",
                "unable to parse signing key {hex}",
                "sessions.py|120|verify|claims = decode(token, key)",
                "keys.py|37|load|raise InvalidKeyError(kid)",
            ),
            500,
            {"component": "sessions"},
        ),
        regression=_error(
            python("KeyError", "'tenant_realm'", "sessions.py|52|login|realm = claims['tenant_realm']"),
            500,
            {"component": "sessions"},
        ),
    ),
    "inventory": ServiceMessages(
        everyday={
            "availability": (Message("INFO  stock of {sku} is {many}, read in {ms} ms"),),
            "reserve": (Message("INFO  reserved {count} of {sku} for {order}"),),
        },
        chatter=(
            Message("DEBUG acquired connection {shard} after {ms} ms"),
            Message("DEBUG select on stock returned {count} rows in {ms} ms"),
            Message("INFO  stock view {hex} refreshed, {many} rows"),
        ),
        warnings=(
            _warning("WARN  stock of {sku} is low: {count} left"),
            _warning("WARN  connection pool at {percent} percent"),
        ),
        rare=(Message("DEBUG connecting to postgresql://stock:{password}@10.20.0.5:5432/shop", "DEBUG"),),
        background=(
            _error("ERROR reservation of {sku} failed: could not serialize access due to concurrent update"),
        ),
        fault=_error(
            "ERROR "
            + java(
                "org.springframework.dao.DataIntegrityViolationException",
                "stock of {sku} must not be negative",
                "com.shop.stock.StockRepository.decrease(StockRepository.java:66)",
                "com.shop.stock.ReservationService.reserve(ReservationService.java:102)",
            )
        ),
        regression=_error(
            "ERROR "
            + java(
                "org.hibernate.MappingException",
                "Unknown entity: com.shop.stock.Reservation",
                "org.hibernate.metamodel.MetamodelImpl.entityPersister(MetamodelImpl.java:710)",
                "com.shop.stock.ReservationService.reserve(ReservationService.java:97)",
            )
        ),
    ),
    "recommendation": ServiceMessages(
        everyday={
            "suggest": (Message("ranked {many} candidates for {user} with model v{shard} in {ms} ms"),)
        },
        chatter=(
            Message("loaded {count} features of {user}"),
            Message("model v{shard} scored {many} items"),
            Message("embedding cache hit, {bytes} bytes"),
        ),
        warnings=(_warning("feature store is stale by {slow_ms} ms"),),
        rare=(Message("exported profile of {email}", "DEBUG"),),
        background=(_error("no embedding for {sku}, user {user}"),),
        fault=_error(
            python(
                "ValueError",
                "shapes ({many},64) and (128,) not aligned",
                "rank.py|83|rank|scores = items @ profile",
            )
        ),
        regression=_error(
            python(
                "ModuleNotFoundError",
                "No module named 'ranker.v2'",
                "rank.py|9|load|import_module('ranker.v2')",
            )
        ),
    ),
    "shipping": ServiceMessages(
        everyday={
            "quote": (Message("quoted {amount} EUR to {city} in {ms} ms"),),
            "book": (Message("booked parcel {uuid} for {order} to {city}"),),
        },
        warnings=(_warning("carrier rate table is {many} minutes old"),),
        rare=(Message("label for {order} mailed to {email}"),),
        background=(_error("carrier rejected parcel {uuid}: address not found", 502),),
        fault=_error(
            go(
                "runtime error: index out of range [{count}] with length 0",
                "main.rate(...)",
                "\t/workspace/rates.go:77",
            )
        ),
        regression=_error(
            go(
                "interface conversion: interface is nil, not string",
                "main.parseZone(...)",
                "\t/workspace/zones.go:31",
            )
        ),
    ),
    "email": ServiceMessages(
        everyday={"confirm": (Message("sent order confirmation {uuid} for {order}"),)},
        warnings=(_warning("smtp relay deferred message {uuid}: 451 try again later"),),
        rare=(Message("bounce from {email}"),),
        background=(_error("smtp relay closed the connection after DATA, message {uuid}"),),
        fault=_error(
            python(
                "smtplib.SMTPAuthenticationError",
                "(535, b'5.7.8 Authentication credentials invalid')",
                "main.py|44|confirm|relay.login(USER, password())",
            )
        ),
        regression=_error(
            python(
                "jinja2.exceptions.UndefinedError",
                "'order' is undefined",
                "main.py|38|confirm|body = template.render(data)",
            )
        ),
    ),
    "shop-db": ServiceMessages(
        warnings=(
            _warning(
                "[{pid}]: [{count}-1] db=shop,user=app LOG:  duration: {slow_ms}.{pid} ms  statement: "
                "SELECT quantity FROM stock WHERE sku = $1"
            ),
        ),
        background=(_error("[{pid}]: [{count}-1] db=shop,user=app ERROR:  deadlock detected"),),
        fault=_error("[{pid}]: [{count}-1] db=shop,user=app ERROR:  could not read block {many}: I/O error"),
        regression=_error(
            '[{pid}]: [{count}-1] db=shop,user=app ERROR:  column "quantity" does not exist at character 8'
        ),
    ),
}

"""Settings: every documented variable, every mistake at once, no secret ever repeated."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from schemas.call_settings import QUEUE_EVENTS, CallSettings, is_trunk
from schemas.settings import Pbx, Settings
from services.runtime.settings import VARIABLES, SettingsError, load_settings
from tests.support.program import environment, run_program
from tests.support.settings import SECRET


def mistakes(environ: dict[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, file)
    assert SECRET not in str(caught.value)
    return str(caught.value).split("\n")


def test_nothing_is_needed() -> None:
    assert load_settings({"HOME": "/root"}) == Settings()


def test_every_variable(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    settings = load_settings(
        {
            "RINGLEDGER_AMI": f"ami://user:{SECRET}@pbx1, two=amis://me:a%2Cb%2F%40@[::1]:5039?verify=no&ca={ca}",
            "RINGLEDGER_ARI": f"pbx1=ari://user:{SECRET}@pbx1",
            "RINGLEDGER_DATABASE_URL": f"postgresql://u:{SECRET}@a:5432,b/ledger",
            "RINGLEDGER_DATA": str(tmp_path),
            "RINGLEDGER_HTTP": "[::]:80",
            "RINGLEDGER_ADMIN_PASSWORD": SECRET,
            "RINGLEDGER_OPEN_VIEWS": "True",
            "RINGLEDGER_TRUNKS": "PJSIP/provider*, SIP/trunk,,SIP/trunk",
            "RINGLEDGER_QUEUE_EVENTS": "NIGHT=closed, DIVERT_HOLDTIME=timeout",
            "RINGLEDGER_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.7/8,2001:db8::/32",
        }
    )
    assert settings == Settings(
        ami=(
            Pbx("pbx1", "pbx1", 5038, "user", SECRET),
            Pbx("two", "::1", 5039, "me", "a,b/@", tls=True, verify=False, ca_file=str(ca)),
        ),
        ari=(Pbx("pbx1", "pbx1", 8088, "user", SECRET),),
        database_url=f"postgresql://u:{SECRET}@a:5432,b/ledger",
        data=tmp_path,
        http_host="::",
        http_port=80,
        admin_password=SECRET,
        open_views=True,
        trusted_proxies=(ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
        calls=CallSettings(
            ("PJSIP/provider*", "SIP/trunk"), QUEUE_EVENTS | {"NIGHT": "closed", "DIVERT_HOLDTIME": "timeout"}
        ),
    )


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ringledger.toml"
    file.write_text(
        f"""
        ami = ["a=ami://user:{SECRET}@one", "b=ami://user:{SECRET}@two"]
        http = "0.0.0.0:8000"
        trunks = ["SIP/a*", "SIP/b"]
        queue_events = ["NIGHT=closed", "VIP=full"]
        open_views = true
        """
    )
    settings = load_settings({"RINGLEDGER_HTTP": "127.0.0.1:9000", "RINGLEDGER_OPEN_VIEWS": ""}, file)
    assert [pbx.name for pbx in settings.ami] == ["a", "b"]
    assert settings.calls == CallSettings(("SIP/a*", "SIP/b"), QUEUE_EVENTS | {"NIGHT": "closed", "VIP": "full"})
    assert (settings.http_host, settings.http_port, settings.open_views) == ("127.0.0.1", 9000, True)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "ringledger.toml"
    file.write_text("nonsense = 1\n")
    named = mistakes(
        {
            "RINGLEDGER_AMI": f"ami://user:{SECRET}@one,ftp://user:{SECRET}@two,one=ami://user:{SECRET}@three",
            "RINGLEDGER_ARI": f"ari://user:{SECRET}/x@one",
            "RINGLEDGER_DATABASE_URL": f"mysql://u:{SECRET}@host",
            "RINGLEDGER_DATA": str(file),
            "RINGLEDGER_HTTP": "8081",
            "RINGLEDGER_OPEN_VIEWS": "perhaps",
            "RINGLEDGER_PASSWORD": SECRET,
        },
        file,
    )
    starts = [
        f"{file}: nonsense: unknown setting",
        "RINGLEDGER_PASSWORD: unknown setting",
        "RINGLEDGER_HTTP: '8081' is not host:port",
        "RINGLEDGER_OPEN_VIEWS: true or false",
        "RINGLEDGER_AMI: item 2: not [name=]ami://user:secret@host:port",
        "RINGLEDGER_AMI: item 3: a second PBX has the name one",
        "RINGLEDGER_ARI: item 1: not a URL",
        "RINGLEDGER_DATABASE_URL: must start with postgresql://",
        f"RINGLEDGER_DATA: {file} is not a folder",
    ]
    assert len(named) == len(starts)
    assert all(line.startswith(start) for line, start in zip(named, starts, strict=True)), named


@pytest.mark.parametrize(
    "item",
    [
        SECRET,
        f"ami://user:{SECRET}@",
        "ami://user@host",
        f"ami://:{SECRET}@host",
        f"ami://user:{SECRET}@host:99999",
        f"ami://user:{SECRET}@host:x{SECRET}",
        f"ami://user:{SECRET}#@host",
        f"ami://user:{SECRET}?@host",
        f"ami://user:x@y?{SECRET}=1@host",
        f"ami://user:{SECRET}@host?verify=perhaps",
        f"ami://user:{SECRET}@host?ca=/no/such/file",
        f"ari://user:{SECRET}@host",
        f"x=y=ami://user:{SECRET}@host",
        f"ami://user:{SECRET}@[::1",
    ],
)
def test_an_item_that_is_wrong_is_not_repeated(item: str) -> None:
    assert mistakes({"RINGLEDGER_AMI": item})[0].startswith("RINGLEDGER_AMI: item 1: ")


@pytest.mark.parametrize(
    "url", [f"postgresql://u:{SECRET}/x@host/db", f"postgresql://u:x@h:{SECRET}/db", "postgres://["]
)
def test_a_wrong_database_url_is_not_printed(url: str) -> None:
    assert mistakes({"RINGLEDGER_DATABASE_URL": url})[0].startswith("RINGLEDGER_DATABASE_URL: not a URL")


@pytest.mark.parametrize(
    "address", ["", ":1", "host:", "host:x", "host:-1", "host:65536", "host:\u00b2", "host:\u0661"]
)
def test_an_address_that_is_none(address: str) -> None:
    if address:
        assert mistakes({"RINGLEDGER_HTTP": address})[0].startswith("RINGLEDGER_HTTP: ")
    else:
        assert load_settings({"RINGLEDGER_HTTP": address}) == Settings()


@pytest.mark.parametrize("text", [b"ami = ", b"\xff", b'ami = "ami://u:' + SECRET.encode() + b"@h"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "ringledger.toml"
    file.write_bytes(text)
    assert mistakes({}, file)[0].startswith(f"{file}: ")
    assert mistakes({}, tmp_path / "none.toml")[0].startswith(f"{tmp_path / 'none.toml'}: ")


def test_variables_of_kubernetes_are_ignored() -> None:
    environ = {
        "RINGLEDGER_SERVICE_HOST": "10.0.0.1",
        "RINGLEDGER_PORT_8081_TCP_ADDR": "10.0.0.1",
        "RINGLEDGER_PORT": "x",
    }
    assert load_settings(environ) == Settings()


@pytest.mark.parametrize("command", ["up", "listen", "project", "serve", "migrate"])
async def test_commands_name_all_mistakes_and_leave_with_2(command: str, tmp_path: Path) -> None:
    environ = environment(data=tmp_path / "data", RINGLEDGER_AMI=f"ami://{SECRET}", RINGLEDGER_HTTP="nowhere")
    code, out, err = await run_program(command, environ=environ)
    assert code == 2
    assert "RINGLEDGER_AMI" in err
    assert "RINGLEDGER_HTTP" in err
    assert "Traceback" not in err
    assert SECRET not in err + out
    assert not (tmp_path / "data").exists()


async def test_help_names_every_command_and_variable() -> None:
    code, shown, err = await run_program("--help", environ=environment(COLUMNS="120", NO_COLOR="1"))
    assert (code, err) == (0, "")
    for name in VARIABLES:
        assert f"RINGLEDGER_{name}" in shown
    for command in ("up", "demo", "listen", "project", "serve", "migrate", "export", "redact"):
        assert f" {command} " in shown


def test_an_invalid_network_is_reported() -> None:
    output = mistakes({"RINGLEDGER_TRUSTED_PROXIES": "127.0.0.1, proxy.example, 10.0.0.0/33"})
    assert [line.split("'")[1] for line in output] == ["proxy.example", "10.0.0.0/33"]


def test_a_data_directory_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as raised:
        load_settings({"RINGLEDGER_DATA": str(tmp_path / "file" / "x" / "y")})
    assert str(raised.value) == f"RINGLEDGER_DATA: {tmp_path / 'file'} is not a folder"


@pytest.mark.parametrize("item", ["trunk", "PJSIP/", "/x", "PJSIP/a b", "SIP\t/x"])
def test_bad_endpoint_patterns_are_refused(item: str) -> None:
    [output] = mistakes({"RINGLEDGER_TRUNKS": f"PJSIP/good*,{item}"})
    assert output == f"RINGLEDGER_TRUNKS: {item!r} is not a pattern of endpoints (PJSIP/provider*)"


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ("NIGHT", "'NIGHT' is not WORD=outcome; outcomes are abandoned, timeout"),
        ("NIGHT=shut", "'NIGHT=shut' is not WORD=outcome"),
        ("NIGHT=answered", "'NIGHT=answered' is not WORD=outcome"),
        ("NI GHT=full", "'NI GHT=full' is not WORD=outcome"),
        ("=full", "'=full' is not WORD=outcome"),
        ("CONNECT=full", "CONNECT is an event of Asterisk, whose meaning is fixed"),
        ("ATTENDEDTRANSFER=full", "ATTENDEDTRANSFER is an event of Asterisk"),
        ("A=full,A=closed", "A has two outcomes, full and closed"),
    ],
)
def test_a_word_with_no_outcome_is_a_mistake(item: str, error: str) -> None:
    [output] = mistakes({"RINGLEDGER_QUEUE_EVENTS": f"GOOD=closed,{item}"})
    assert output.startswith(f"RINGLEDGER_QUEUE_EVENTS: {error}")


def test_trunks_are_patterns_of_whole_endpoints() -> None:
    trunks = ("PJSIP/provider*", "SIP/[trunk]", "*/out")
    endpoints = (
        "pjsip/Provider-1",
        "PJSIP/provider",
        "SIP/[TRUNK]",
        "IAX2/out",
        "PJSIP/a-provider",
        "SIP/t",
        "SIP/out1",
    )
    assert [is_trunk(endpoint, trunks) for endpoint in endpoints] == [True] * 4 + [False] * 3
    assert not is_trunk("PJSIP/provider", ())

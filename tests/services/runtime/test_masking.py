"""One list of secret names masks headers, variables, applications, JSON, lines of files, and our own log."""

import io
import json

import pytest

from schemas import secrets
from schemas.secrets import MASK, is_secret
from services.runtime.masking import mask_event
from services.runtime.masking.ami import mask_block, masker_of
from services.runtime.masking.application import mask_agi_command, mask_application_data
from services.runtime.masking.json import mask_json
from services.runtime.masking.lines import mask_line
from services.runtime.masking.text import mask_text
from services.runtime.process import mask_log_line, write_traceback

SECRETS = (
    *("Password", "Md5Cred", "OauthSecret", "RefreshToken", "Challenge", "Pin", "PIN", "PinCode", "PINCODE", "Pwd"),
    *("AuthKey", "PrivateKey", "private_key", "Authorization", "Proxy-Authorization", "Cookie", "Key", "API_KEY"),
    *(
        "DB_PASSWORD",
        "__DB_PASSWORD",
        "USER_PIN",
        "userPin",
        "USERPIN",
        "PIN1",
        "apikey",
        "ArrayHash",
        "CURLOPT(userpwd)",
    ),
    *(
        "SIPPASS",
        "PASS",
        "passcode",
        "CRED",
        "DB_CREDENTIALS",
        "CREDIT_CARD",
        "TelecomPassword",
        "~HASH~user~password~",
        "PASS_HASH",
    ),
    *("PJSIP_HEADER(add,Authorization)", "HASH(user,pin)", "CONFBRIDGE(user,pin)", "DB(user/102/pin)", "X-Auth-Token"),
)
ORDINARY = (
    *("DND_BYPASS", "COMPASS", "PASSENGERS", "PASSPORT", "TESTPASSED", "PASSIVE", "CREDIT", "CREDIT_LIMIT", "SACRED"),
    *("HASH(row,name)", "__HASH(row,name)", "~HASH~row~name~", "PINEAPPLE", "keyboard"),
    *("UsingPassword", "MohPassthrough", "moh_passthrough", "Passthrough", "CODEC_PASSTHRU", "MusicClass", "KeyName"),
    *(
        "DtlsRekey",
        "DtlsPrivateKey",
        "dtls_private_key",
        "PrivKeyFile",
        "Spinning",
        "Ping",
        "PINGTIME",
        "SPIN",
        "Pinned",
    ),
    *(
        "AuthType",
        "Auths",
        "OutboundAuth",
        "PublicKey",
        "keys",
        "Monkey",
        "Uniqueid",
        "AppData",
        "password_in",
        "opinion",
    ),
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_name_is_recognised(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_no_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("name", [name for name in SECRETS if ":" not in name])
def test_only_a_filled_secret_header_is_masked(name: str) -> None:
    block = b"Event: UserEvent\r\n%s: %s\r\nRealm: pass\r\n\r\n"
    assert mask_block(block % (name.encode(), b"pw100")) == block % (name.encode(), b"********")
    assert mask_block(block % (name.encode(), b"")) == block % (name.encode(), b"")


def test_an_ordinary_header_beside_a_secret_stays() -> None:
    block = b"Event: EndpointDetail\r\nMohPassthrough: false\r\nPassword: x\r\n\r\n"
    assert mask_block(block) == b"Event: EndpointDetail\r\nMohPassthrough: false\r\nPassword: ********\r\n\r\n"


HEAD = b"Privilege: dialplan,all\r\nChannel: PJSIP/pin-1\r\nContext: x=y\r\n"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (b"VarSet", b"Variable: DB_PASSWORD\r\nValue: a: b", b"Variable: DB_PASSWORD\r\nValue: ********"),
        (b"VarSet", b"Variable: DB_PASSWORD\r\nValue: ", b"Variable: DB_PASSWORD\r\nValue: "),
        (b"VarSet", b"Variable: COLOUR\r\nValue: PASSWORD=1", b"Variable: COLOUR\r\nValue: PASSWORD=1"),
        (
            b"VarSet",
            b"ChanVariable: PIN=1\r\nVariable: X\r\nValue: y",
            b"ChanVariable: PIN=********\r\nVariable: X\r\nValue: y",
        ),
        (b"Hangup", b"DestChanVariable: API_KEY=1,2=3", b"DestChanVariable: API_KEY=********"),
        (b"Hangup", b"ChanVariable(SIP/1): PIN=1", b"ChanVariable(SIP/1): PIN=********"),
        (b"Hangup", b"ChanVariable: COLOUR=blue", b"ChanVariable: COLOUR=blue"),
        (b"Newexten", b"Application: Set\r\nAppData: PIN=1", b"Application: Set\r\nAppData: PIN=********"),
        (
            b"CEL",
            b"Application: Authenticate\r\nAppData: 12,a\r\nPeer: ",
            b"Application: Authenticate\r\nAppData: ********,a\r\nPeer: ",
        ),
        (b"CEL", b"Application: \r\nAppData: \r\nPeer: x", b"Application: \r\nAppData: \r\nPeer: x"),
        (b"Cdr", b"LastApplication: Set\r\nLastData: PIN=1", b"LastApplication: Set\r\nLastData: PIN=********"),
        (b"Status", b"Variable: PIN=1\r\nVariable: A=2", b"Variable: PIN=********\r\nVariable: A=2"),
        (b"Status", b"Application: Set\r\nData: PIN=1", b"Application: Set\r\nData: PIN=********"),
        (b"AGIExecStart", b"Command: SET VARIABLE PIN 1", b"Command: SET VARIABLE PIN ********"),
        (b"DBGetResponse", b"Family: x\r\nKey: pin\r\nVal: 1", b"Family: x\r\nKey: ********\r\nVal: ********"),
        (b"DBGetResponse", b"Family: x\r\nKey: colour\r\nVal: 1", b"Family: x\r\nKey: ********\r\nVal: 1"),
        (b"UserEvent", b"UserEvent: A\r\nPin: 1\xff", b"UserEvent: A\r\nPin: ********"),
    ],
)
def test_values_go_by_the_names_of_their_variables(name: bytes, before: bytes, after: bytes) -> None:
    block = b"Event: " + name + b"\r\n" + HEAD + b"%s\r\n\r\n"
    assert masker_of(name)(block % before) == mask_block(block % before) == block % after
    assert mask_block(block % after) == block % after


@pytest.mark.parametrize(
    ("application", "data", "shown"),
    [
        ("Set", "DB_PASSWORD=a,b=c", f"DB_PASSWORD={MASK}"),
        ("set", "COLOUR=PIN=1", "COLOUR=PIN=1"),
        ("Set", "PJSIP_HEADER(add,Authorization)=Basic eA==", f"PJSIP_HEADER(add,Authorization)={MASK}"),
        ("MSet", "A=1,PIN=2,B=3", f"A=1,PIN={MASK},B=3"),
        ("UserEvent", "Entered,Pin: 4242,Caller: 110", f"Entered,Pin: {MASK},Caller: 110"),
        ("UserEvent", "Entered,Pin: ${PIN},Caller: 110", "Entered,Pin: ${PIN},Caller: 110"),
        ("SIPAddHeader", 'Authorization: Digest username="x", response="y"', f"Authorization: {MASK}"),
        ("Authenticate", "1234,a", f"{MASK},a"),
        ("Authenticate", "/etc/asterisk/pins,a", "/etc/asterisk/pins,a"),
        ("Authenticate", "", ""),
        ("DISA", "no-password,ctx", "no-password,ctx"),
        ("DISA", "1234,ctx", f"{MASK},ctx"),
        ("MeetMe", "800,M,1234", f"800,M,{MASK}"),
        ("ExecIf", "1?Set(DB_PASSWORD=x)", f"1?Set(DB_PASSWORD={MASK}"),
        ("AGI", "agi://host:4573/x?token=abc&a=1", f"agi://host:4573/x?token={MASK}&a=1"),
        ("System", 'mysql --password="a b" -e "x"', f'mysql --password="{MASK}" -e "x"'),
        ("Dial", "PJSIP/102@trunk,20,tT", "PJSIP/102@trunk,20,tT"),
    ],
)
def test_application_data_is_masked_by_name_and_place(application: str, data: str, shown: str) -> None:
    assert mask_application_data(application, data) == shown
    assert mask_application_data(application, shown) == shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ('SET VARIABLE DB_PASSWORD "x y"', f"SET VARIABLE DB_PASSWORD {MASK}"),
        ('set variable "PIN" 1', f'set variable "PIN" {MASK}'),
        ("SET VARIABLE COLOUR blue", "SET VARIABLE COLOUR blue"),
        ("DATABASE PUT users pin 1", f"DATABASE PUT users pin {MASK}"),
        ("EXEC Set PIN=1", f"EXEC Set PIN={MASK}"),
        ('EXEC "Authenticate" 1234', f'EXEC "Authenticate" {MASK}'),
        ("GET VARIABLE PIN", "GET VARIABLE PIN"),
    ],
)
def test_an_agi_command_is_masked(command: str, shown: str) -> None:
    assert mask_agi_command(command) == shown


def test_json_is_masked_by_variable_and_application() -> None:
    message = {
        "type": "ChannelVarset",
        "variable": "DB_PASSWORD",
        "value": "hunter2",
        "channel": {
            "name": "PJSIP/1",
            "channelvars": {"PIN": "4242", "COLOUR": "blue"},
            "dialplan": {"priority": 1, "app_name": "Set", "app_data": 'X_TOKEN="a",ü'},
        },
        "userevent": {"pin": 4242, "tokens": 3, "ping": "x"},
    }
    shown = json.loads(mask_json(json.dumps(message).encode()))
    assert (shown["value"], shown["channel"]["channelvars"]) == (MASK, {"PIN": MASK, "COLOUR": "blue"})
    assert shown["channel"]["dialplan"]["app_data"] == f"X_TOKEN={MASK}"
    assert shown["userevent"] == {"pin": MASK, "tokens": 3, "ping": "x"}
    message["variable"] = "COLOUR"
    assert json.loads(mask_json(json.dumps(message).encode()))["value"] == "hunter2"


@pytest.mark.parametrize(
    ("source", "line", "shown"),
    [
        ("cdr_csv", b'"","1","Set","PIN=""1"" 2","x\xff",1\r\n', b'"","1","Set","PIN=********","x\xff",1\r\n'),
        ("cdr_csv", b'"","1","Authenticate","1234,a",1\n', b'"","1","Authenticate","********,a",1\n'),
        ("cel_csv", b"APP_START,1795308983,Set,PIN=1,x\n", b"APP_START,1795308983,Set,PIN=********,x\n"),
        ("queue_log", b"1|NONE|q|a|INFO|pin=1|x\n", b"1|NONE|q|a|INFO|pin=********|x\n"),
        ("cdr_csv", b'"","","Spin","keys: 2","",,1\r\n', b'"","","Spin","keys: 2","",,1\r\n'),
    ],
)
def test_lines_of_files_are_masked(source: str, line: bytes, shown: bytes) -> None:
    assert mask_line(source, line) == mask_event(source, line) == shown
    assert mask_line(source, shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no route to ami://u:p/w@h:5038", f"no route to ami://u:{MASK}@h:5038"),
        ("postgresql://u:p@a:1,b:2/db is away", f"postgresql://u:{MASK}@a:1,b:2/db is away"),
        ("GET /v1/x?authtoken=1f-2&pbx=a", f"GET /v1/x?authtoken={MASK}&pbx=a"),
        ("Authorization: Basic dTpwYXNzd29yZA==", f"Authorization: Basic {MASK}"),
        ("http://host:8088/ari/events", "http://host:8088/ari/events"),
        ("not [name=]ami://user:secret@host:port", "not [name=]ami://user:secret@host:port"),
        ("password: is too long", "password: is too long"),
    ],
)
def test_our_own_text_has_no_secret(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_a_line_of_our_log_has_no_secret() -> None:
    line = {
        "event": "x",
        "token": "t",
        "password_in": "/x",
        "error": "ami://u:p@h",
        "frames": [{"value": "ami://u:p@h"}],
    }
    shown = mask_log_line(None, "", dict(line))
    hidden = f"ami://u:{MASK}@h"
    assert shown == {"event": "x", "token": MASK, "password_in": "/x", "error": hidden, "frames": [{"value": hidden}]}


def test_a_traceback_on_a_terminal_has_no_secret() -> None:
    out, error = io.StringIO(), ValueError("ami://u:hunter2@h")
    write_traceback(out, (ValueError, error, None))
    assert "hunter2" not in out.getvalue()
    assert MASK in out.getvalue()


@pytest.mark.parametrize("text", ["a" * 1_000_000, "=" * 300_000, "a b" * 300_000, '"' * 300_000, "pin=" * 200_000])
def test_long_text_costs_its_length(text: str) -> None:
    assert mask_application_data("UserEvent", text)
    assert mask_line("cdr_csv", b'"pin",' + text.encode())
    assert mask_json(b'{"pin":"1","x":"' + text.replace('"', "'").encode() + b'"}')
    assert mask_text(text)


def test_the_cache_of_names_is_bounded() -> None:
    name = "X" * 300 + "_PIN"
    before = secrets._remembered.cache_info().currsize
    assert is_secret(name)
    assert mask_block(f"Event: VarSet\r\nVariable: {name}\r\nValue: 1\r\n\r\n".encode()).endswith(
        b"Value: ********\r\n\r\n"
    )
    assert secrets._remembered.cache_info().currsize - before < 10

"""Go templates, with gotpl (a port of text/template) as the oracle."""

from __future__ import annotations

from typing import Any

import gotpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.cli.template import render, rows, unescape
from rootless.cli.template.values import Structure
from rootless.errors import UsageError

CONTAINER: dict[str, Any] = {
    "Id": "0123456789ab",
    "Name": "web",
    "Names": ["web", "www"],
    "State": {"Pid": 4242, "Running": True, "Paused": False, "ExitCode": 0, "Error": ""},
    "Mounts": [{"Source": "/a", "Destination": "/x", "RW": True}, {"Source": "/b", "Destination": "/y", "RW": False}],
    "Config": {
        "Env": ["PATH=/bin", "A=b c"],
        "Cmd": None,
        "Nothing": None,
        "Labels": {"a": "1", "b.c": "2"},
        "Hostname": "<host> & 'co'",
    },
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None}},
    "Size": 1234567,
    "Ratio": 0.25,
}

SAME_AS_GO = [
    "plain text",
    "{{.Id}}",
    "{{ .State.Pid }}",
    "{{.State.Running}}/{{.State.Paused}}",
    "{{.Names}}",
    "{{.Config.Env}}",
    "{{.Config.Labels}}",
    "{{.Config.Nothing}}",
    "{{.Config.Labels.nope}}",
    "{{.Ratio}} {{.Size}}",
    "{{range .Mounts}}{{.Source}}{{end}}",
    "{{range .Mounts}}{{.Source}}:{{.Destination}}{{if not .RW}}:ro{{end}} {{end}}",
    "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}",
    "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
    "{{range $m := .Mounts}}{{$m.Source}}{{end}}",
    "{{range .Config.Cmd}}x{{else}}none{{end}}",
    "{{range .Mounts}}{{if .RW}}{{continue}}{{end}}{{.Source}}{{end}}",
    "{{range .Config.Env}}{{.}}{{break}}{{end}}",
    "{{index .Config.Env 0}}",
    "{{(index .Mounts 1).Source}}",
    '{{index .Config.Labels "b.c"}}',
    '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}',
    "{{if .State.Running}}up{{end}}",
    "{{if .State.Paused}}a{{else if .State.Running}}b{{else}}c{{end}}",
    "{{if .State.Paused}}a{{else if .State.Error}}b{{else}}c{{end}}",
    "{{if and .State.Running (not .State.Paused)}}yes{{end}}",
    "{{if or .State.Paused .State.Error}}x{{else}}y{{end}}",
    "{{with .State}}{{.Pid}}{{end}}{{with .Config.Cmd}}no{{else}}none{{end}}",
    "{{with $x := .Name}}{{$x}}{{$.Id}}{{end}}",
    "{{$n := 1}}{{range .Mounts}}{{$n = 2}}{{end}}{{$n}}",
    "{{$n := 1}}{{if true}}{{$n := 2}}{{$n}}{{end}}{{$n}}",
    '{{if eq .Name "web"}}1{{end}}{{if ne .Name "web"}}2{{end}}',
    '{{eq .Name "a" "b" "web"}}',
    "{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 3}} {{eq .State.ExitCode 0}}",
    "{{len .Names}} {{len .Name}} {{len .Config.Labels}}",
    "{{print 1 2 .Name 3}} {{println .Name 1}}",
    '{{printf "%s is %d" .Name .State.Pid}}',
    '{{printf "%q" .Name}} {{printf "%v" .Names}} {{printf "%5d|%-5d|%05d" 42 42 42}}',
    '{{printf "%-10s|%10s|%.2s" .Name .Name .Name}} {{printf "%.2f %x %X %%" .Ratio .Size .Size}}',
    '{{printf "%t" .State.Running}} {{printf "%+d" 5}} {{printf "%c%U" 65 65}}',
    '{{printf "%d" .Name}} {{printf "%s"}} {{printf "x" 1}}',
    "{{.Name | printf \"%s-%s\" .Id}}",
    "{{slice .Name 1}} {{slice .Id 0 4}} {{slice .Names 1}}",
    "{{html .Config.Hostname}}",
    "{{urlquery .Config.Hostname}}",
    "a {{- .Name -}} b",
    "a {{- /* note */ -}} b{{/* other */}}c",
    "{{ `raw \\n` }} {{\"tab\\t\"}} {{'a'}} {{0x10}} {{1e3}} {{-7}} {{true}}",
    "{{not 0}} {{not \"\"}} {{not .Names}}",
    "{{/* only */}}",
    "{{if not .Config.Cmd}}{{with .State}}{{range $.Names}}{{.}}{{end}}{{end}}{{end}}",
    "{{and 1 0 2}} {{or 0 \"x\" 1}} {{and 1 2}}",
    "{{range 3}}{{.}}{{end}}",
]  # fmt: skip


@pytest.mark.parametrize("text", SAME_AS_GO)
def test_renders_as_go_does(text: str) -> None:
    assert render(text, CONTAINER) == gotpl.render(text, CONTAINER)


@pytest.mark.parametrize(
    "text",
    [
        "{{.Name",
        "{{",
        "{{end}}",
        "{{if .Name}}",
        "{{range}}{{end}}",
        "{{else}}",
        "{{if .Name}}{{else}}{{else}}{{end}}",
        "{{nofunction .Name}}",
        '{{"open}}',
        "{{(.Name}}",
        "{{.Name)}}",
        "{{$undefined}}",
        "{{break}}",
        "{{.Name | 3}}",
        "{{index .Names 7}}",
        '{{index .Names "x"}}',
        "{{lt 1 \"x\"}}",
        "{{len 3}}",
        "{{/* open",
        "{{1abc}}",
        "{{|}}",
        "{{.}}{{nil}}",
        "{{$a, $b := .Name}}",
        "{{slice .Name 9}}",
        "{{eq .Name 3}}",
    ],
)  # fmt: skip
def test_refuses_what_go_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="template:"):
        render(text, CONTAINER)
    with pytest.raises(gotpl.TemplateError):
        gotpl.render(text, CONTAINER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{json .State}}", '{"Pid":4242,"Running":true,"Paused":false,"ExitCode":0,"Error":""}'),
        ("{{json .Names}}", '["web","www"]'),
        ('{{join .Names ","}}', "web,www"),
        ('{{join .Name ","}}', "web"),
        ("{{upper .Name}} {{lower .Name}} {{title .Name}}", "WEB web Web"),
        ('{{split "a/b" "/"}}', "[a b]"),
        ("{{truncate .Id 4}}|{{pad .Name 1 2}}|", "0123| web  |"),
        ("{{.Id | upper | json}}", '"0123456789AB"'),
        ("{{.ID}} {{.NetworkSettings.ports}}", "0123456789ab map[53/udp:<nil> 80/tcp:[{0.0.0.0 8080}]]"),
        ("{{.NetworkSettings.Ports}}", "map[53/udp:<nil> 80/tcp:[{0.0.0.0 8080}]]"),
        ("{{.State}}", "{4242 true false 0 }"),
        ('{{.Id}}\\t{{.Name}}\\n{{"\\t"}}', "0123456789ab\tweb\n\t"),
    ],
)
def test_renders_what_docker_and_podman_add(text: str, expected: str) -> None:
    assert render(text, CONTAINER) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "{{.Config.Cmd}} {{len .Config.Entrypoint}} {{.Config.ExposedPorts}} {{json .Config.Volumes}}",
            "[] 0 map[] null",
        ),
        ("{{.Config.Timezone}}|{{if .Config.Healthcheck}}x{{end}}|{{.State.Restored}}", "||false"),
        ("{{range $port, $_ := .Config.ExposedPorts}}{{$port}}{{else}}none{{end}}", "none"),
        ("{{json .Config.Entrypoint}}{{index .Config.Volumes `/x`}}", "null"),
    ],
)
def test_fields_that_are_left_out_while_they_are_empty_can_be_asked_for(text: str, shown: str) -> None:
    assert render(text, CONTAINER) == shown
    with pytest.raises(UsageError, match=r"no field \.Entrypoint"):
        render("{{.Entrypoint}}", CONTAINER)
    assert render("{{.UID}} {{.Anonymous}}", {"Name": "v", "Mountpoint": "/v"}) == "0 false"
    assert (
        render("{{.Config.User}}{{.Config.Labels}}{{.HealthCheck}}", {"RootFS": {}, "Config": {}}) == "map[]<no value>"
    )


def test_a_misspelled_field_is_an_error_that_names_the_right_one() -> None:
    with pytest.raises(UsageError, match=r"no field \.Stat") as error:
        render("{{.Stat.Pid}}", CONTAINER)
    assert error.value.hint == "did you mean .State?"


def test_a_key_that_a_map_lacks_is_no_error() -> None:
    assert render("{{.Config.Labels.x}}|{{index .Config.Labels `x`}}|", CONTAINER) == "<no value>||"


def test_methods_take_arguments() -> None:
    value = {"ID": "1", "Label": {"a": "b"}.get, "Status": lambda: "up"}
    assert render('{{.ID}} {{.Label "a"}} {{.Status}}', value) == "1 b up"
    assert render("{{.Status}}", value) == "up"


def test_json_of_a_structure_is_without_its_methods_or_what_it_is_made_to_be() -> None:
    assert render("{{json .}}|{{.}}", {"ID": "1", "Label": {}.get}) == '{"ID":"1"}|{1}'
    line = Structure({"ID": "1", "Label": {}.get}, lambda: {"Id": "1", "Names": ["a"]})
    assert render("{{json .}} {{json .ID}}", line) == '{"Id":"1","Names":["a"]} "1"'


def test_fields_that_a_structure_lacks_are_errors_however_its_keys_are_written() -> None:
    assert render("{{.Host.OS}}", Structure({"host": Structure({"os": "linux"})})) == "linux"
    with pytest.raises(UsageError, match=r"no field \.Bogus"):
        render("{{.Bogus}}", Structure({"host": 1}))


def test_a_table_has_headings_and_columns() -> None:
    values = [{"ID": "1", "Names": "long-name-of-a-container", "CreatedAt": "x"}]
    assert rows("table {{.ID}} {{.Names}}\\t{{.CreatedAt}}", values, {"ID": "CONTAINER ID"}) == (
        "CONTAINER ID  NAMES                     CREATED AT\n"
        "1             long-name-of-a-container  x\n"
    )  # fmt: skip
    assert rows("table {{.ID}}", values, {}, heading=False) == "1\n"
    assert rows("table {{upper .Names}} {{len .ID}}", [], {}) == "NAMES       ID\n"


def test_rows_end_in_one_newline_each() -> None:
    assert rows("{{.ID}}", [{"ID": 1}, {"ID": 2}]) == "1\n2\n"
    assert rows("{{.ID}}\\n", [{"ID": 1}, {"ID": 2}]) == "1\n2\n"
    assert rows("{{.ID}}", []) == ""


def test_escapes_of_a_shell_word_stay_out_of_actions() -> None:
    assert unescape(r'a\t{{printf "%s\n" .X}}\n') == 'a\t{{printf "%s\\n" .X}}\n'


def test_a_string_has_no_fields() -> None:
    with pytest.raises(UsageError, match=r"\.First: a string has no fields"):
        render("{{.Name.First}}", CONTAINER)


pieces = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", ".", ".Name", "$", "$x", ":=", "=", "|", "(", ")", ",", " ", "if", "else", "end",
     "range", "with", "index", "json", "printf", '"a"', "`", "'", "1", "0x", "1e", "/*", "*/", "nil", "true",
     "\\", "eq", "and"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=14).map("".join))
def test_any_text_renders_or_is_a_usage_error(text: str) -> None:
    try:
        render(text, CONTAINER)
    except UsageError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=8).map(" ".join).map(lambda inside: "{{" + inside + "}}"))
def test_what_renders_renders_as_go_does(text: str) -> None:
    text = text.replace("json", "len").replace("nil", "2")  # Go has no json, and our data are looser about nil
    data = {"Name": "web", "list": [1, "x"]}  # a small letter: Go would print structures otherwise than maps
    try:
        ours = render(text, data)
    except UsageError:
        return
    assert ours == gotpl.render(text, data)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(UsageError, match="too deeply"):
        render("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", {})

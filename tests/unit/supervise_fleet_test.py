"""How many processes for how many calls, and Kamailio's configuration."""

import shutil
import subprocess

import pytest

from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError
from voicebot.supervise.fleet import plan_fleet
from voicebot.supervise.front import Front, configuration, dispatcher_list, find_kamailio


def settings(**sections):
    return Settings.model_validate(sections)


def test_four_calls_are_one_edge_without_a_front():
    fleet = plan_fleet(settings())
    assert not fleet.needs_front
    (edge,) = fleet.edges
    assert edge.name == "127.0.0.1:5060"
    assert "VOICEBOT_SIP__PORT" not in edge.environment
    assert [(w.port, w.standby) for w in fleet.workers] == [(8095, False), (8096, True)]


def test_thirty_two_calls_are_eight_edges_and_four_workers_with_ports_of_their_own():
    fleet = plan_fleet(settings(scale={"calls": 32}))
    assert fleet.needs_front
    assert [e.sip_port for e in fleet.edges] == list(range(5070, 5078))
    assert [w.standby for w in fleet.workers] == [False] * 4 + [True]
    taken = [
        port
        for edge in fleet.edges
        for port in range(
            int(edge.environment["VOICEBOT_RTP__PORT_MIN"]),
            int(edge.environment["VOICEBOT_RTP__PORT_MAX"]) + 1,
        )
    ]
    assert len(taken) == len(set(taken)) == 256
    urls = {e.environment["VOICEBOT_LINK__WORKER_URLS"] for e in fleet.edges}
    assert urls == {",".join(f"ws://127.0.0.1:{port}/" for port in range(8095, 8100))}


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"scale": {"calls": 100}}, "rtp.port_max"),
        ({"scale": {"calls": 32, "edge_port": 65530}}, "scale.edge_port"),
        ({"link": {"port": 65535}}, "link.port"),
    ],
)
def test_ports_that_do_not_suffice_are_a_mistake_of_the_settings(sections, key):
    with pytest.raises(ConfigError) as caught:
        plan_fleet(settings(**sections))
    assert caught.value.key == key


def test_without_kamailio_it_says_what_to_install(tmp_path):
    with pytest.raises(ConfigError, match="apt-get install kamailio"):
        find_kamailio(str(tmp_path / "none"))


def test_every_value_of_the_template_is_filled_in():
    made = settings(
        scale={"calls": 8}, sip={"trunks": ["10.0.0.5", "192.0.2.0/24"], "advertised_host": "192.0.2.9"}
    )
    text = configuration(made)
    assert "%%" not in text
    assert 'is_in_subnet("$si", "10.0.0.5/32") || is_in_subnet("$si", "192.0.2.0/24")' in text
    assert "listen=udp:127.0.0.1:5060 advertise 192.0.2.9:5060" in text
    assert dispatcher_list(["127.0.0.1:5070", "127.0.0.1:5071"]).splitlines() == [
        "1 sip:127.0.0.1:5070 0 0 duid=e0;maxload=4",
        "1 sip:127.0.0.1:5071 0 0 duid=e1;maxload=4",
    ]


@pytest.mark.peer
@pytest.mark.parametrize("rtpengine", ["", "udp:127.0.0.1:2223"])
def test_kamailio_understands_the_configuration(tmp_path, rtpengine):
    program = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
    assert program, "kamailio is missing: apt-get install kamailio (make install-dev does it)"
    made = settings(scale={"calls": 8, "rtpengine": rtpengine}, data_dir=tmp_path)
    Front(made, ["127.0.0.1:5070", "127.0.0.1:5071"])._write()
    checked = subprocess.run(
        [program, "-c", "-f", "kamailio.cfg", "-Y", "."],
        cwd=tmp_path / "front",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr

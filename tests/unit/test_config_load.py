"""Settings: file, then environment; a mistake is said with file, line, column and key."""

import pytest

from voicebot.config.load import load_settings
from voicebot.core.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "voicebot.yaml"
    path.write_text(text)
    return path


def test_no_file_and_no_variables_give_the_defaults():
    settings = load_settings(environment={"HOME": "/"})
    assert (settings.sip.host, settings.sip.port) == ("127.0.0.1", 5060)


def test_the_environment_overrides_the_file(tmp_path):
    path = write(tmp_path, "sip:\n  port: 5070\n  host: 127.0.0.2\n")
    settings = load_settings(path, {"VOICEBOT_SIP__PORT": "5080"})
    assert (settings.sip.host, settings.sip.port) == ("127.0.0.2", 5080)


def test_the_file_may_be_named_by_the_environment(tmp_path):
    path = write(tmp_path, "asr:\n  engine: fake\n")
    assert load_settings(environment={"VOICEBOT_CONFIG": str(path)}).asr.engine == "fake"


def test_a_list_in_the_environment_is_separated_by_commas():
    settings = load_settings(environment={"VOICEBOT_SIP__TRUNKS": "127.0.0.0/8, 10.1.0.0/16"})
    assert settings.sip.trunks == ("127.0.0.0/8", "10.1.0.0/16")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("sip:\n  port: 5070\n  prot: udp\n", 3, "sip.prot"),
        ("spi:\n  port: 5070\n", 1, "spi"),
        ("sip:\n  port: many\n", 2, "sip.port"),
        ("data_dir: var\nsip:\n  trunks:\n    - 127.0.0.0/8\n    - nonsense\n", 5, "sip.trunks.1"),
        ("sip:\n  port: 1\n  port: 2\n", 3, "sip.port"),
        ("rtp:\n  codecs: [G729]\n", 2, "rtp.codecs.0"),
        ("turn:\n  silence_probability: 0.9\n", 1, "turn"),
    ],
)
def test_a_mistake_in_the_file_is_placed(tmp_path, text, line, key):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert (caught.value.line, caught.value.key) == (line, key)
    assert str(caught.value).startswith(f"{path}:{line}:")


def test_an_unknown_variable_is_refused():
    with pytest.raises(ConfigError, match="VOICEBOT_SPI__PORT"):
        load_settings(environment={"VOICEBOT_SPI__PORT": "1"})


def test_a_wrong_value_in_the_environment_names_the_variable():
    with pytest.raises(ConfigError, match="VOICEBOT_SIP__PORT"):
        load_settings(environment={"VOICEBOT_SIP__PORT": "many"})


def test_a_trunk_for_call_backs_that_may_not_be_called_is_refused():
    with pytest.raises(ConfigError, match=r"sbc\.example is not in sip\.outgoing_hosts"):
        load_settings(environment={"VOICEBOT_HANDOFF__CALLBACK_TRUNK": "sbc.example:5060"})


def test_secrets_are_no_settings():
    load_settings(environment={"VOICEBOT_LLM_KEY": "x", "VOICEBOT_SIP_PASSWORD": "y"})


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_settings(tmp_path / "none.yaml", {})


def test_a_file_that_is_no_mapping_is_said(tmp_path):
    with pytest.raises(ConfigError, match="mapping"):
        load_settings(write(tmp_path, "- a\n- b\n"), {})

// "voicebot serve" prints an address with the token behind "#", which no browser sends anywhere.
const token = /^#token=([A-Za-z0-9_-]+)$/.exec(location.hash);
if (token) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("password").value = token[1];
  document.querySelector("form").requestSubmit();
}

// Asks the server.

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const TOKEN = "panoptic_blend_token";

/** Send this token from now on, while the tab is open. */
export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/**
 * An answer's JSON. While the server is busy (429), `wait(seconds)` is told, and it is asked again.
 * @throws {Refused} for everything else that it does not do.
 */
export async function ask(method, path, query = {}, body = undefined, wait = () => {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  for (;;) {
    let reply;
    try {
      reply = await fetch(`${path}?${new URLSearchParams(given)}`, { method, body, headers });
    } catch {
      throw new Refused(0, "The server does not answer. Does it still run?");
    }
    if (reply.ok) return reply.json();
    if (reply.status !== 429) {
      const said = await reply.json().catch(() => ({}));
      throw new Refused(reply.status, said.detail ?? `The server answered with ${reply.status}.`);
    }
    const seconds = Number(reply.headers.get("Retry-After") ?? 1);
    wait(seconds);
    await new Promise((resume) => setTimeout(resume, 1000 * seconds));
  }
}

/** The bytes of base64. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Who the scripts are: two users with money and a key each, and where the exchange is.

export const url = process.env.MATCHBOX_URL;
export const feed = url.replace("http", "ws");
export const [alice, bob] = JSON.parse(process.env.MATCHBOX_USERS);

/** Waits until `look` answers something, and answers that; what it awaits may come a moment later. */
export async function until(look, what) {
  const end = Date.now() + 10_000;
  while (Date.now() < end) {
    const found = await look();
    if (found) return found;
    await new Promise((resume) => setTimeout(resume, 30));
  }
  throw new Error(`not within 10 s: ${what}`);
}

/** Keys and mail addresses look the same everywhere; other secrets are those that the test typed. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/eliza_[0-9a-f]{8,}/i, 'a key'],
  [/[\w.+-]+@[\w.-]+\.[a-z]{2,}/i, 'a mail address'],
];

/** What a text has that it must not have, or null. The secret itself is not repeated. */
export function leaks(text: string, secrets: readonly string[]): string | null {
  const decoded = safeDecode(text);
  if (secrets.some((secret) => decoded.includes(secret))) return 'a secret of this test';
  return PATTERNS.find(([pattern]) => pattern.test(decoded))?.[1] ?? null;
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

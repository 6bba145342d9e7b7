// Numbers, delays and lengths of time as people read them, in the page's language.

const LANGUAGE = document.documentElement.lang || undefined;
const plain = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LANGUAGE, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false,
});
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
const LENGTHS = Object.fromEntries(
  UNITS.map(([unit]) => [unit, inUnit(unit, 0)]),
);
const DELAYS = { ms: inUnit("millisecond", 0), tenths: inUnit("millisecond", 1), s: inUnit("second", 1) };
const DASH = "–";

function inUnit(unit, digits) {
  const options = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits };
  return new Intl.NumberFormat(LANGUAGE, options);
}

export const whole = (value) => (value == null ? DASH : plain.format(value));

export function rate(value) {
  if (value == null) return DASH;
  return value && value < 10 ? tenths.format(value) : plain.format(value);
}

// "1,000+" where counting stopped there. (None found in a part of the streams is no "0+".)
export const least = (text, isLeast) => (isLeast && text !== plain.format(0) ? `${text}+` : text);

export function delay(ms) {
  if (ms == null) return DASH;
  if (ms >= 1_000) return DELAYS.s.format(ms / 1_000);
  return (ms && ms < 10 ? DELAYS.tenths : DELAYS.ms).format(ms);
}

// How long ago, in the largest unit that fits.
export function length(seconds) {
  const passed = Math.max(0, seconds);
  const [unit, size] = UNITS.find(([, each]) => passed >= each) ?? UNITS.at(-1);
  return LENGTHS[unit].format(Math.floor(passed / size));
}

const relative = new Intl.RelativeTimeFormat(LANGUAGE, { style: "short" });
export const minutesAgo = (minutes) => relative.format(-minutes, "minute");

export const timeOfDay = (iso) => clock.format(new Date(iso));

// A sentence of the page, with {names} replaced.
export const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

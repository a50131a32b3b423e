// Dates as numbers, days or seconds from the start of 1970, and back; the page and its worker use them.

const UNIT_SECONDS = { days: 86400, seconds: 1 };

/** Return the number that a date's ISO text stands for in a unit, or NaN. */
function numberOfDate(text, unit) {
  if (!/^\d{4,}-\d\d/.test(text)) return NaN; // browsers take much else for a date
  const iso = /^\d{4,}-\d\d(-\d\d)?$/.test(text) ? text : /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`;
  const seconds = Date.parse(iso.replace(" ", "T")) / 1000;
  return seconds / UNIT_SECONDS[unit];
}

/** Return the ISO text of a date that is given as a number of a unit. */
function dateText(number, unit) {
  const date = new Date(Math.round(number * UNIT_SECONDS[unit] * 1000));
  if (Number.isNaN(date.getTime())) return String(number);
  const text = date.toISOString();
  return unit === "days" ? text.slice(0, 10) : text.slice(0, 19).replace("T", " ");
}

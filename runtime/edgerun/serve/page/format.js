// Numbers as people read them. Every function takes null for "not known" and says "–".
export const NONE = "–";
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(n) {
  return n == null ? NONE : n < 100000 ? plain.format(n) : short.format(n);
}

// Three digits, no more of them than the size of the number bears.
export function number(v) {
  if (v == null) return NONE;
  const size = Math.abs(v);
  if (size >= 1000) return count(v);
  return String(Number(v.toPrecision(size >= 100 ? 3 : size >= 1 ? 3 : 2)));
}

export function ms(v) {
  if (v == null) return NONE;
  return v >= 1000 ? `${number(v / 1000)} s` : `${number(v)} ms`;
}

export function percent(share) {
  if (share == null) return NONE;
  const p = share * 100;
  return `${p === 0 || p === 100 ? p : p < 1 ? p.toFixed(2) : p < 99 ? p.toFixed(p < 10 ? 1 : 0) : p.toFixed(1)} %`;
}

export function span(s) {
  if (s == null) return NONE;
  if (s < 1) return "now";
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export function ago(s) {
  return s == null ? NONE : s < 1 ? "now" : `${span(s)} ago`;
}

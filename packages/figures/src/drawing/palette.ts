/** Okabe and Ito's eight colours, told apart under the common colour-vision deficiencies ("Color Universal Design", 2008). */
export const okabeIto = {
  black: "#000000",
  orange: "#E69F00",
  skyBlue: "#56B4E9",
  green: "#009E73",
  yellow: "#F0E442",
  blue: "#0072B2",
  vermilion: "#D55E00",
  purple: "#CC79A7",
} as const;

/** Colours of links and of what travels over them, from the innermost level outwards. */
export const linkColours = [okabeIto.orange, okabeIto.vermilion, okabeIto.purple] as const;

/** What is read first, what is read second, and what only guides the eye. */
export const ink = { text: "#1a1a1a", quiet: "#555555", rule: "#b8b8b8", faint: "#e9e9e9", paper: "#ffffff" } as const;

/** Four steps from light to dark that stay ordered in grey print and for colour-blind readers (ColorBrewer YlGnBu). */
export const fourSteps = ["#a1dab4", "#41b6c4", "#2c7fb8", "#253494"] as const;

/** From light to dark in one hue, for amounts (ColorBrewer Oranges). */
export const amountSteps = ["#fee6ce", "#fdbe85", "#fd8d3c", "#d94801"] as const;

// A dark and a light end for each node's hue; the ranks of the node lie in between.
const nodeHues = [
  ["#08407e", "#a6cdec"],
  ["#a13a00", "#fdc48a"],
  ["#00573f", "#9bdcc3"],
  ["#6d2f55", "#ecbcd7"],
] as const;

const manyNodes = [
  okabeIto.blue,
  okabeIto.orange,
  okabeIto.green,
  okabeIto.purple,
  okabeIto.skyBlue,
  okabeIto.vermilion,
  okabeIto.yellow,
  "#777777",
];

/** One colour for each rank: nodes differ in hue, ranks of a node in lightness; beyond four nodes a colour is a node's. */
export function rankColours(ranks: number, ranksPerNode: number): string[] {
  const nodes = Math.ceil(ranks / ranksPerNode);
  return Array.from({ length: ranks }, (_, rank) => {
    const node = Math.floor(rank / ranksPerNode);
    if (nodes > nodeHues.length) return manyNodes[node % manyNodes.length];
    const [dark, light] = nodeHues[node];
    return between(dark, light, ranksPerNode === 1 ? 0.35 : (rank % ranksPerNode) / (ranksPerNode - 1));
  });
}

/** Black or white, whichever is read better on `colour` (relative luminance of WCAG 2, without its gamma). */
export function inkOn(colour: string): string {
  const [red, green, blue] = channels(colour);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 140 ? ink.text : ink.paper;
}

function between(from: string, to: string, share: number): string {
  const end = channels(to);
  const mixed = channels(from).map((value, i) => Math.round(value + (end[i] - value) * share));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

const channels = (colour: string): number[] => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));

import { okabeIto } from "../drawing/palette.ts";

/** Colour of a layer strategy; those often drawn have their own, so that figures can be compared, others by place in the list. */
export const layerStrategyColour = (strategy: string, at: number): string =>
  ownColours[strategy] ?? otherColours[at % otherColours.length];

/** Strategies as figures show them beside each other: those with a colour of their own in its order, then the others. */
export const inOrder = (strategies: readonly string[]): string[] => [
  ...Object.keys(ownColours).filter((name) => strategies.includes(name)),
  ...strategies.filter((name) => !(name in ownColours)),
];

const ownColours: Readonly<Record<string, string>> = {
  ...{
    megatron: okabeIto.purple,
    "colai-sp": okabeIto.skyBlue,
    ulysses: okabeIto.orange,
    ring: okabeIto.green,
    hsap: okabeIto.blue,
  },
};
const otherColours = [okabeIto.vermilion, okabeIto.black, okabeIto.yellow];

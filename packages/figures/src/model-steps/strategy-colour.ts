import { okabeIto } from "../drawing/palette.ts";

/** Colour of a layer strategy; those often drawn have their own, so that figures can be compared, others by place in the list. */
export const layerStrategyColour = (strategy: string, at: number): string =>
  ownColours[strategy] ?? otherColours[at % otherColours.length];

const ownColours: Readonly<Record<string, string>> = {
  ...{
    megatron: okabeIto.purple,
    "colai-sp": okabeIto.skyBlue,
    ulysses: okabeIto.orange,
    hsap: okabeIto.blue,
    ring: okabeIto.green,
  },
};
const otherColours = [okabeIto.vermilion, okabeIto.black, okabeIto.yellow];

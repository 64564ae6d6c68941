import { linkColours, okabeIto } from "../drawing/palette.ts";
import type { Activity } from "./lanes.ts";

export const compileColour = okabeIto.green;

/** Colour of what a lane does. */
export function activityColour(activity: Activity): string {
  if (typeof activity === "object") return linkColours[activity.level % linkColours.length];
  return activity === "attention" ? okabeIto.blue : okabeIto.black;
}
